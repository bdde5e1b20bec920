"""A subject found without a mask, by a segmentation model that users bring along."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.media.segment import Box

if TYPE_CHECKING:
    from magdiff_jax.data.prepare.sam2 import Sam2Tracker

# What is left out on each side where no box is given: pictures of a subject have it in the middle.
_BORDER = 1 / 16


def matte(
    frames: UInt8[np.ndarray, "frame height width 3"], model: str, box: Box | None
) -> Bool[np.ndarray, "frame height width"]:
    """Masks of what SAM 2 finds in a box of the first frame, followed through the others.

    Args:
        frames: of a clip, or a picture.
        model: a folder, or a name on the model hub: facebook/sam2.1-hiera-large and its like.
        box: x, y, width, height in pixels; None for all but the border.

    Raises:
        UserError: PyTorch or the model is missing, or the box does not lie within the frame.
    """
    return np.stack(list(follow(frames, model, box)))


def follow(frames: Any, model: str, box: Box | None) -> Iterator[Bool[np.ndarray, "_height _width"]]:
    """The same, frame by frame; `frames` are asked for by number, one after the other."""
    height, width = frames[0].shape[:2]
    if box is None:
        x, y = round(width * _BORDER), round(height * _BORDER)
        box = x, y, max(width - 2 * x, 1), max(height - 2 * y, 1)
    return _tracker(model).follow(frames, box)


@lru_cache(1)  # for the requests of a file
def _tracker(model: str) -> "Sam2Tracker":
    from magdiff_jax.data.prepare.models import place
    from magdiff_jax.data.prepare.sam2 import Sam2Tracker

    return Sam2Tracker(model, place(None, None))
