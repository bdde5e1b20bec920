"""Subjects cut out, centred and brought to one size, so that what they look like can be compared."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.data.clip import Frames, Masks

# Of a crop's sides; the default suits subjects of clips of 32 and 64 pixels.
SIDE = 24
# What stands around a subject: no drawing is mainly of this gray, and it favours neither light nor dark ones.
AROUND = 128
# Half a crop's side, in radii of gyration: the tip of a needle is at 1.73, the rim of a disc at 1.41.
_REACH = 2.0


def crops(
    frames: Frames, masks: Masks, turns: Sequence[float] | None = None, side: int = SIDE, around: int = AROUND
) -> UInt8[np.ndarray, "_frame {side} {side} 3"]:
    """The subject of each frame, its centre of gravity in the middle, at one size, turned back.

    Place and size are by the mask's moments and not by its box, which a single wrong pixel moves.

    Args:
        frames: with the subjects.
        masks: of the subjects; where one is empty, so is the crop.
        turns: by which each subject is turned, degrees clockwise; none by default.
        side: of the crops, in pixels.
        around: gray level outside the subject.
    """
    turns = [0.0] * len(frames) if turns is None else turns
    found = [_crop(*one, side, around) for one in zip(frames, masks, turns, strict=True)]
    return np.stack(found)


def _crop(
    frame: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    turn: float,
    side: int,
    around: int,
) -> UInt8[np.ndarray, "{side} {side} 3"]:
    import cv2

    if not mask.any():
        return np.full((side, side, 3), around, np.uint8)
    y, x = np.nonzero(mask)
    centre_x, centre_y = x.mean(), y.mean()
    radius = math.sqrt(max(float(x.var() + y.var()), 1.0))
    scale = 2 * _REACH * radius / side  # pixels of the frame in one of the crop
    cosine, sine = scale * math.cos(math.radians(turn)), scale * math.sin(math.radians(turn))
    middle = (side - 1) / 2
    to_frame = np.array(
        [
            [cosine, -sine, centre_x - (cosine - sine) * middle],
            [sine, cosine, centre_y - (sine + cosine) * middle],
        ]
    )
    cut = np.where(mask[..., None], frame, np.uint8(around))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(cut, to_frame, (side, side), flags=flags, borderValue=(around,) * 3))
