"""The edge of a mask, moved and made soft: against halos of the old background, and against what was cut off."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from magdiff_jax.errors import UserError

# More would take seconds a frame.
_MOST = 500


def check_edges(grow: int, feather: int) -> None:
    """Raises UserError where these are no numbers of pixels that `grow_masks` and `feather_frames` take."""
    if abs(grow) > _MOST:
        raise UserError(f"--mask-grow {grow}: must be between {-_MOST} and {_MOST} pixels")
    if not 0 <= feather <= _MOST:
        raise UserError(f"--mask-feather {feather}: must be between 0 and {_MOST} pixels")


def grow_masks(masks: Bool[np.ndarray, "*clip height width"], pixels: int) -> Bool[np.ndarray, "*clip height width"]:
    """Masks with their edge moved outwards by so many pixels, inwards where negative; the frame's border is no edge."""
    if not pixels:
        return masks
    if pixels < 0:
        return ~grow_masks(~masks, -pixels)
    return np.stack([_distance(~mask) <= pixels for mask in _each(masks)]).reshape(masks.shape)


def feather_frames(
    frames: UInt8[np.ndarray, "*clip height width 3"], masks: Bool[np.ndarray, "*clip height width"], pixels: int
) -> UInt8[np.ndarray, "*clip height width 3"]:
    """Frames in which the subject fades to black within so many pixels of its mask's edge; what is outside stays."""
    if not pixels:
        return frames
    fading = opacity(masks, pixels)
    return np.where(masks[..., None], np.round(frames * fading[..., None]).astype(np.uint8), frames)


def opacity(masks: Bool[np.ndarray, "*clip height width"], pixels: int) -> Float[np.ndarray, "*clip height width"]:
    """1 inside of masks, falling to 0 at their edge within so many pixels."""
    return np.stack([np.minimum(_distance(mask) / (pixels + 1), 1) for mask in _each(masks)]).reshape(masks.shape)


def _each(masks: np.ndarray) -> np.ndarray:
    return masks.reshape(-1, *masks.shape[-2:])


def _distance(inside: Bool[np.ndarray, "height width"]) -> np.ndarray:
    """Of each pixel to the nearest one outside, in pixels; large where there is none."""
    import cv2

    if inside.all():
        return np.full(inside.shape, np.inf, np.float32)
    return cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
