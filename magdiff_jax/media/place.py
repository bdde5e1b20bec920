"""A subject's place in the frame: where the model finds it is where a video begins."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.errors import UserError

# So that a small subject in a large frame does not become a picture that no memory holds.
_MOST_SIDE = 8192


class Place(NamedTuple):
    """The middle of the subject and its longer side, as shares of the frame's width, height and shorter side."""

    x: float
    y: float
    size: float


def parse_place(text: str) -> Place:
    """Reads "X,Y,SIZE". Raises UserError where that is not three shares of the frame."""
    try:
        place = Place(*map(float, text.split(",")))
        if not (0 <= place.x <= 1 and 0 <= place.y <= 1 and 0.01 <= place.size <= 1):
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(f"--place {text}: must be X,Y,SIZE, shares of the frame from 0 to 1: 0.5,0.5,0.4") from None
    return place


def place_subject(
    picture: UInt8[np.ndarray, "_height _width 3"],
    mask: Bool[np.ndarray, "_height _width"],
    place: Place,
    aspect: float,
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """The subject in a frame of its own, black elsewhere, with its mask. No pixel of it changes.

    Args:
        picture: of the subject.
        mask: where it is; somewhere at least.
        place: for it in the frame.
        aspect: of the frame, width by height.

    Raises:
        UserError: the subject would reach out of the frame.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    subject, where = picture[inside], mask[inside]
    short = max(where.shape) / place.size
    height, width = (round(short * max(1.0, ratio)) for ratio in (1 / aspect, aspect))
    if max(height, width) > _MOST_SIDE:
        raise UserError(f"--place: the frame would be {width} x {height} pixels; give a smaller picture of the subject")
    top, left = (
        math.floor(middle * side - length / 2 + 0.5)
        for middle, side, length in zip((place.y, place.x), (height, width), where.shape, strict=True)
    )
    if top < 0 or left < 0 or top + where.shape[0] > height or left + where.shape[1] > width:
        raise UserError(f"--place {','.join(map(str, place))}: the subject would reach out of the frame")
    frame, found = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    target = slice(top, top + where.shape[0]), slice(left, left + where.shape[1])
    frame[target], found[target] = np.where(where[..., None], subject, 0), where
    return frame, found
