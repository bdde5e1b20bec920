"""Masks: which pixels of a picture, or of each frame of a clip, belong to the subject."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture, count_frames, read_image
from magdiff_jax.media.video import read_pictures

# Of 8-bit values; half-way, so that a mask saved with loss keeps its edge.
_THRESHOLD = 128


def read_masks(
    path: str | Path, frames: int, height: int, width: int, start: int = 0, stride: int = 1
) -> Bool[np.ndarray, "{frames} {height} {width}"]:
    """Reads a mask per frame; True is the subject.

    `path` is one picture, which then serves all frames, or a folder of pictures, an animation or
    a video, whose frames are picked as `read_video` does. The subject is where the transparency
    is 128 or more or, in a picture without (or with constant) transparency, the strongest colour.

    Raises:
        UserError: as `read_video` does, or the masks are not `width` x `height`.
    """
    path = Path(path)
    still = path.is_file() and count_frames(path) == 1
    if still:
        pictures = [read_image(path)] * frames
    else:
        pictures, _ = read_pictures(path, frames, start, stride)
    mask_height, mask_width = pictures[0].rgb.shape[:2]
    if (mask_height, mask_width) != (height, width):
        raise UserError(
            f"{path} is {mask_width}x{mask_height} but the frames it masks are {width}x{height}: "
            "make both the same size"
        )
    return np.stack([to_mask(picture) for picture in pictures])


def to_mask(picture: Picture) -> Bool[np.ndarray, "height width"]:
    """Returns the subject in a picture of a mask; the rule is that of `read_masks`."""
    from_alpha = alpha_mask(picture)
    # The maximum, for label pictures that paint the subject in a colour of its own.
    return picture.rgb.max(axis=-1) >= _THRESHOLD if from_alpha is None else from_alpha


def alpha_mask(picture: Picture) -> Bool[np.ndarray, "height width"] | None:
    """Returns the mask that transparency gives; None without it, or where it is constant."""
    if picture.alpha is None or picture.alpha.min() == picture.alpha.max():
        return None
    return picture.alpha >= _THRESHOLD


def whole_frame_if_empty(
    masks: Bool[np.ndarray, "frame height width"], quiet: bool = False
) -> Bool[np.ndarray, "frame height width"]:
    """Returns the masks with empty ones filled: a null mask means the whole frame. Warns of it unless `quiet`."""
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if not len(empty):
        return masks
    if not quiet:
        numbers = ", ".join(str(index) for index in empty)
        warnings.warn(f"empty mask in frame {numbers}: the whole frame is taken as the subject", stacklevel=2)
    filled = masks.copy()
    filled[empty] = True
    return filled
