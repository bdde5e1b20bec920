"""A clip in one picture, as in the paper's figure E: frames with the subject's outline, its masks below them."""

from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from magdiff_jax.data.clip import Clip
from magdiff_jax.media.images import fit
from magdiff_jax.media.sheet import outlined

_FRAMES = 8
# Frames are shown as large as these bounds allow, in pixels.
_MOST_HEIGHT, _MOST_WIDTH = 144, 320
# Pixels of a grey that parts frames as well on a light page as on a dark one.
_GAP, _GREY = 4, 128


def strip(clip: Clip) -> UInt8[np.ndarray, "height width 3"]:
    """Draws 8 frames (fewer of a shorter clip) spread evenly from the first to the last.

    The first row shows the frames with the outline of the subject's mask, the second the masks, white on black. A clip
    with a null mask has its frames alone.

    Raises:
        UserError: the clip cannot be decoded.
    """
    length = clip.info.length
    indices = np.linspace(0, length - 1, min(_FRAMES, length)).round().astype(int).tolist()
    frames, masks = clip.frames(indices), clip.masks(indices)
    factor = min(_MOST_HEIGHT / frames.shape[1], _MOST_WIDTH / frames.shape[2])
    height, width = (max(1, round(side * factor)) for side in frames.shape[1:3])
    pictures = [fit(frame, height, width) for frame in frames]
    if masks is None:
        return _row(pictures)
    small = [fit(mask, height, width) for mask in masks]
    above = _row([outlined(picture, mask) for picture, mask in zip(pictures, small, strict=True)])
    below = _row([np.repeat(mask[..., None], 3, axis=-1).astype(np.uint8) * 255 for mask in small])
    return np.concatenate([above, np.full((_GAP, above.shape[1], 3), _GREY, np.uint8), below])


def _row(pictures: list[np.ndarray]) -> np.ndarray:
    gap = np.full((pictures[0].shape[0], _GAP, 3), _GREY, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], axis=1)


def jpeg(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """A picture as JPEG bytes, of a quality for looking at."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=85)
    return stream.getvalue()
