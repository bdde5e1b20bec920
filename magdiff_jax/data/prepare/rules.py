"""The paper's three rules (supplement, section C): what is put aside because it would not train well."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from magdiff_jax.config import Config
from magdiff_jax.data.clip import mean_area
from magdiff_jax.data.prepare.label import Choice, clean_answer
from magdiff_jax.data.prepare.stages import Rejected

# Labels that name a picture, a place in it or anything at all.
VAGUE = (
    *("thing", "things", "something", "anything", "everything", "nothing", "object", "objects", "item", "items"),
    *("stuff", "subject", "someone", "somebody", "anyone", "it", "this", "that", "one", "none", "other", "unknown"),
    *("foreground", "background", "front", "back", "middle", "center", "side", "top", "bottom", "view", "scene"),
    *("picture", "image", "photo", "photograph", "video", "footage", "film", "clip", "frame", "shot", "close"),
    *("close up", "close-up", "closeup", "blur", "darkness", "motion", "slow motion", "time", "time lapse"),
    *("color", "colour", "yes", "no"),
)


@dataclass(frozen=True)
class RulesConfig(Config):
    """Where the rules draw their lines; the defaults are the paper's where it names them.

    Attributes:
        short_side: least short side of a video, in pixels.
        least_area: least share of the frame that the subject covers, 0 to 1.
        most_area: largest share of the frame that the subject covers, 0 to 1.
        least_similarity: of a label to a word of W, -1 to 1; a label below it is taken to mean nothing clear.
        vague: labels that mean nothing clear, in lower case and without articles.
    """

    short_side: int = 512
    least_area: int | float = 0.05
    most_area: int | float = 0.60
    least_similarity: int | float = 0.35
    vague: tuple[str, ...] = VAGUE

    def __post_init__(self) -> None:
        self._require_positive("short_side")
        self._require_number("least_area", 0, 1)
        self._require_number("most_area", self.least_area, 1)
        self._require_number("least_similarity", -1, 1)
        self._require("vague", not isinstance(self.vague, str), "a list of labels")


def check_short_side(height: int, width: int, least: int) -> None:
    """Rule 1. Raises Rejected("short_side", …) where the short side is under `least` pixels."""
    if min(height, width) < least:
        raise Rejected("short_side", f"{width}x{height} pixels: the short side is under {least}")


def check_area(areas: np.ndarray, least: int | float, most: int | float) -> None:
    """Rule 2. Raises Rejected("area", …) where the subject covers under `least` or over `most` of the frame.

    What counts is the mean over all frames, so that a subject may come near or leave; exactly `least` and exactly
    `most` are kept.

    Args:
        areas: the subject's share of each frame, 0 to 1, float [frame].
        least: share, 0 to 1.
        most: share, 0 to 1.
    """
    area = mean_area(areas)
    if not least <= area <= most:
        side = f"under {least:.1%}" if area < least else f"over {most:.1%}"
        raise Rejected("area", f"the subject covers {area:.5%} of the frame: {side}")


def check_label(choice: Choice, vague: Collection[str], least: int | float) -> None:
    """Rule 3. Raises Rejected("label", …) where the label has no clear meaning.

    That is where there is none, it has no letter, it is one of `vague` as a whole, or its similarity to the nearest
    word of W is below `least`.

    Args:
        choice: of Algorithm 1.
        vague: labels in lower case, without articles.
        least: similarity, -1 to 1.
    """
    if choice.label is None or choice.score is None:
        raise Rejected("label", "no label: no answer near to a subject word, and no noun in the caption")
    if not any(map(str.isalpha, choice.label)):
        raise Rejected("label", f"the label {choice.label!r} has no letters")
    if clean_answer(choice.label) in vague:
        raise Rejected("label", f"the label {choice.label!r} is vague")
    if choice.score < least:
        raise Rejected(
            "label",
            f"the label {choice.label!r} is far from all subject words: {choice.score:.3f} to {choice.word!r}, "
            f"under {least:g}",
        )
