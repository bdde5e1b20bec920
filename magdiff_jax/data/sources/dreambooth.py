"""The DreamBooth subjects (Ruiz et al., CVPR 2023): 30 subjects, each in a few pictures and with 25 prompts."""

import re
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from magdiff_jax.data.clip import Clip
from magdiff_jax.data.files import open_clip
from magdiff_jax.data.sources.layout import first_there, inside, read_lines
from magdiff_jax.errors import UserError
from magdiff_jax.places import Place, place

OBTAIN = "clone github.com/google/dreambooth into it, or copy dataset/ of it; see data/README.md"

_LIST = "prompts_and_classes.txt"
_TITLES = ("Classes", "Prompts", "Object Prompts", "Live Subject Prompts")
# "9 out of these subjects are live subjects (dogs and cats) and 21 are objects."
_LIVE = {"cat", "dog"}
_SUFFIXES = {".jpg", ".jpeg", ".png"}
_PROMPT = re.compile(r"""^(['"])(?P<text>.*\{0\} \{1\}.*)\1\.format""")


class _Picture(NamedTuple):
    path: Place
    subject: str
    noun: str


class DreamBoothSource:
    """All pictures of all subjects, each a clip of one frame; the masks are still to be segmented.

    Args:
        folder: the repository, or its folder `dataset/`, with `prompts_and_classes.txt` and a folder for each subject.

    Raises:
        UserError: the folder is not laid out like this.
    """

    def __init__(self, folder: str | Path):
        subjects = _list(place(folder)).parent
        self._pictures = [
            _Picture(path, subject, noun)
            for subject, noun in read_classes(folder).items()
            for path in _pictures_of(inside(subjects, subject))
        ]

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Clip:
        path, subject, noun = self._pictures[index]
        return open_clip(
            path,
            id=f"{subject}/{path.stem}",
            source="dreambooth",
            caption=f"a photo of a {noun}",
            label=noun,
            category="animal" if noun in _LIVE else "object",
            provenance={
                "caption": {"from": "class"},
                "label": {"from": "class"},
                "subject": subject,
                "live": noun in _LIVE,
            },
        )


def read_classes(folder: str | Path) -> dict[str, str]:
    """The class of each subject, such as "stuffed animal" of "wolf_plushie".

    Raises:
        UserError: `folder` has no `prompts_and_classes.txt` with classes.
    """
    lines = _section(place(folder), "Classes")
    classes = dict(line.split(",") for line in lines if line.count(",") == 1 and line != "subject_name,class")
    if not classes:
        raise UserError(f"{place(folder) / _LIST} lists no classes: {OBTAIN}")
    return classes


def read_prompts(folder: str | Path, subject: str) -> list[str]:
    """The prompts of a subject, with its class for "unique token and class": "a cat in the jungle", …

    Live subjects and objects have different ones, 25 each.

    Raises:
        UserError: there is no such subject, or no prompts.
    """
    classes = read_classes(folder)
    if subject not in classes:
        raise UserError(f"{subject!r} is no DreamBooth subject; there are {', '.join(classes)}")
    noun = classes[subject]
    lines = _section(place(folder), "Live Subject Prompts" if noun in _LIVE else "Object Prompts")
    prompts = [match["text"].replace("{0} {1}", noun) for match in map(_PROMPT.match, lines) if match]
    if not prompts:
        raise UserError(f"{place(folder) / _LIST} lists no prompts: {OBTAIN}")
    return prompts


def _section(folder: Place, title: str) -> list[str]:
    """The lines below a title of the list, up to the next title."""
    lines = iter(read_lines(_list(folder)))
    if title not in lines:  # which goes on to the line after it
        return []
    return list(takewhile(lambda line: line not in _TITLES, lines))


def _list(folder: Place) -> Place:
    return first_there(folder, (_LIST, f"dataset/{_LIST}"), "the subjects' classes and prompts", OBTAIN)


def _pictures_of(folder: Place) -> list[Place]:
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise UserError(f"{folder} holds no pictures: {OBTAIN}")
    return found
