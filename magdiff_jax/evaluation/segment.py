"""The subject of a clip: what its background's colour and shade cannot be mixed to."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from magdiff_jax.data.clip import Frames, Masks
from magdiff_jax.evaluation.colours import Tint

# Levels that a pixel of the subject is away from every mixture of the background's two colours, once smoothed.
_AWAY = 26.0
# Pixels, at 32 pixels of the frame's shorter side: the smoothing that takes noise off.
_SMOOTHING = 0.5
# Of the largest part's area: smaller parts are noise.
_LEAST_PART = 0.08


class Track(NamedTuple):
    """Where a subject is in each frame, and how large; in fractions of the frame's shorter side.

    Attributes:
        x: of the mask's centre of gravity.
        y: the same, from the top.
        size: the root of the mask's area.
    """

    x: Float[np.ndarray, " frame"]
    y: Float[np.ndarray, " frame"]
    size: Float[np.ndarray, " frame"]


def segment(frames: Frames, tint: Tint) -> Masks:
    """The subject's masks, without small parts and with what it encloses.

    Nearly all drawings have a black outline, so that what is of the background's colour within it is the subject's; so
    is, alas, the background within a ring. A frame without a subject has an empty mask.
    """
    return np.stack([_whole(_differs(frame, tint)) for frame in frames])


def track(masks: Masks) -> Track:
    """The track of the masks. Where a mask is empty, the subject is where it was last, or will be first."""
    short = min(masks.shape[1:])
    seen = np.flatnonzero(masks.any(axis=(1, 2)))
    if not len(seen):
        return Track(*np.full((2, len(masks)), 0.5), np.zeros(len(masks)))
    rows, columns = ((np.arange(side) + 0.5) / short for side in masks.shape[1:])
    areas = np.maximum(masks.sum(axis=(1, 2)), 1)
    x, y = masks.sum(axis=1) @ columns / areas, masks.sum(axis=2) @ rows / areas
    known = seen[np.maximum(np.searchsorted(seen, np.arange(len(masks)), side="right") - 1, 0)]
    return Track(x[known], y[known], np.sqrt(areas[known]) / short)


def _differs(frame: UInt8[np.ndarray, "height width 3"], tint: Tint) -> UInt8[np.ndarray, "height width"]:
    import cv2

    offsets = tint.offsets(frame.astype(np.float32))
    smooth = cv2.GaussianBlur(offsets, (0, 0), _SMOOTHING * min(frame.shape[:2]) / 32)
    return (np.linalg.norm(smooth, axis=-1) > _AWAY).astype(np.uint8)


def _whole(differs: UInt8[np.ndarray, "height width"]) -> np.ndarray:
    import cv2

    # What cannot be reached from the border, four pixels around each.
    around = cv2.copyMakeBorder(1 - differs, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, outside = cv2.connectedComponents(around, connectivity=4)
    filled = (outside != outside[0, 0])[1:-1, 1:-1].astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return (areas >= max(2, _LEAST_PART * areas.max()))[parts]
