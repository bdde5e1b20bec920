"""The subject of a clip: what its background's colour and shade cannot be mixed to."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from magdiff_jax.data.clip import Frames, Masks
from magdiff_jax.evaluation.colours import Tint

# Levels that a pixel of the subject is away from every mixture of the background's two colours, once smoothed; at
# least this, and more, up to the other, where the background itself is blotchy.
_LEAST_AWAY, _MOST_AWAY = 26.0, 60.0
# The background's own distances are seen at the border: nine in ten pixels there are nearer than the subject's.
_RIM, _SHARE, _MARGIN = 1 / 16, 0.9, 1.5
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
    import cv2

    sigma = _SMOOTHING * min(frames.shape[1:3]) / 32
    offsets = tint.offsets(frames.astype(np.float32))
    distances = np.linalg.norm([cv2.GaussianBlur(offset, (0, 0), sigma) for offset in offsets], axis=-1)
    return np.stack([_whole(differs) for differs in distances > _away(distances)])


def track(masks: Masks) -> Track:
    """The track of the masks. Where a mask is empty, the subject is where it was last, or will be first."""
    short = min(masks.shape[1:])
    seen = np.flatnonzero(masks.any(axis=(1, 2)))
    if not len(seen):
        return Track(np.full(len(masks), 0.5), np.full(len(masks), 0.5), np.zeros(len(masks)))
    rows, columns = ((np.arange(side) + 0.5) / short for side in masks.shape[1:])
    areas = np.maximum(masks.sum(axis=(1, 2)), 1)
    x, y = masks.sum(axis=1) @ columns / areas, masks.sum(axis=2) @ rows / areas
    known = seen[np.maximum(np.searchsorted(seen, np.arange(len(masks)), side="right") - 1, 0)]
    return Track(x[known], y[known], np.sqrt(areas[known]) / short)


def _away(distances: Float[np.ndarray, "frame height width"]) -> float:
    """From what distance on a pixel is the subject's."""
    rim = max(1, round(_RIM * min(distances.shape[1:])))
    inner = np.zeros(distances.shape[1:], bool)
    inner[rim:-rim, rim:-rim] = True
    return float(np.clip(_MARGIN * np.quantile(distances[:, ~inner], _SHARE), _LEAST_AWAY, _MOST_AWAY))


def _whole(differs: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    import cv2

    # What cannot be reached from the border, four pixels around each.
    around = cv2.copyMakeBorder((~differs).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, outside = cv2.connectedComponents(around, connectivity=4)
    filled = (outside != outside[0, 0])[1:-1, 1:-1].astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return (areas >= max(2, _LEAST_PART * areas.max()))[parts]
