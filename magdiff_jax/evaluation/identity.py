"""Whether a subject is the one that was asked for, and stays it: its looks beside those of 50 unseen drawings."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from magdiff_jax.data.clip import Frames
from magdiff_jax.data.emoji.drawings import Drawings
from magdiff_jax.data.emoji.layers import place
from magdiff_jax.evaluation.colours import Tint
from magdiff_jax.evaluation.crops import AROUND, SIDE, crops
from magdiff_jax.evaluation.reading import Reading
from magdiff_jax.evaluation.segment import segment

# The longer side of a reference, in units of the frame's shorter side: about as large as the subjects are.
_LONGEST = 0.6
# Pixels of a crop: what differs within them is the resampling and not the subject.
_SMOOTHING = 1.0


class Look(NamedTuple):
    """A way of looking at subjects.

    Attributes:
        name: of the metrics that use it.
        embed: from pictures, uint8 [n, side, side, 3], to a row of features each, float [n, feature]; cosines compare
            them.
        side: of the pictures, in pixels.
        around: gray level outside the subject.
    """

    name: str
    embed: Callable[[np.ndarray], np.ndarray]
    side: int = SIDE
    around: int = AROUND


def _pixels(pictures: UInt8[np.ndarray, "n side side 3"]) -> Float[np.ndarray, "n feature"]:
    import cv2

    offsets = pictures.astype(np.float32) - AROUND
    return np.stack([cv2.GaussianBlur(picture, (0, 0), _SMOOTHING).ravel() for picture in offsets])


# The pixel metric: the correlation of pictures, a little smoothed, in which what is around the subject is 0.
PIXELS = Look("pixels", _pixels)


def subject_features(frames: Frames, reading: Reading, look: Look) -> Float[np.ndarray, "frame feature"]:
    """The features of a clip's subject in each frame, at one size and turned back; unit vectors, or 0 for none."""
    turns = list(np.linspace(0, reading.turn, len(frames)))
    return _unit(look.embed(crops(frames, reading.masks, turns, look.side, look.around)))


def reference_features(
    drawings: Drawings, codes: Sequence[str], size: tuple[int, int], tint: Tint, look: Look
) -> Float[np.ndarray, "n feature"]:
    """The same of each drawing, whole and upright, in a frame of this height and width with a plain background.

    They go through the same segmentation, so that what a background of this colour hides of a subject, it hides of the
    references too.
    """
    height, width = size
    frames = np.empty((len(codes), height, width, 3), np.uint8)
    frames[:] = np.clip(np.round(tint.plain), 0, 255)
    longest = _LONGEST * min(size)
    for frame, code in zip(frames, codes, strict=True):
        place(drawings.sprite(code, longest), (width / 2, height / 2), longest, 0.0, height, width).over(frame)
    return _unit(look.embed(crops(frames, segment(frames, tint), None, look.side, look.around)))


def rank(subject: Float[np.ndarray, "frame feature"], references: Float[np.ndarray, "n feature"]) -> int:
    """How many of the others are at least as similar to the subject as the first reference, its own: 0 is right.

    Similarity is the mean cosine over the frames.
    """
    similarities = references @ subject.mean(axis=0)
    return int((similarities[1:] >= similarities[0]).sum())


def consistency(subject: Float[np.ndarray, "frame feature"]) -> float:
    """The mean cosine of successive frames' features, -1 to 1 (frame consistency: Esser et al. 2023, section 4.3)."""
    return float(np.mean([one @ other for one, other in pairwise(subject)]))


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
