"""Which frames of a clip, and which part of them, an example is made of."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool

from magdiff_jax.media.images import Window, centre_window, subject_window


def choose_frames(
    length: int,
    count: int,
    stride: int,
    offset: int | np.random.Generator,
    areas: Callable[[], np.ndarray | None] | None = None,
) -> list[int]:
    """The indices of `count` frames, `stride` apart, from a clip of `length` frames (released code).

    Where the clip is too short for that stride, the frames are spread evenly over it: frame i of them is
    floor(i · length / count), so that some come twice where there are fewer than `count`.

    Args:
        length: frames of the clip, at least 1.
        count: frames wanted.
        stride: from one to the next, at least 1.
        offset: the first frame, or the last that leaves room for the others where it is later; or what draws it from
            all that leave room.
        areas: gives the subject's share of each frame, and is asked only where there is something to draw: some clips
            decode all their masks for it. What is drawn is a frame that shows the subject, where there is one: the
            subject is cut out of the first frame. (Ours; the released code draws any.)
    """
    room = length - (count - 1) * stride
    if room < 1:
        return [index * length // count for index in range(count)]
    if isinstance(offset, int):
        start = min(offset, room - 1)
    elif room == 1:
        start = 0
    else:
        shares = areas() if areas is not None else None
        shown = np.arange(room) if shares is None else np.flatnonzero(shares[:room])
        start = int(offset.choice(shown if len(shown) else room))
    return [start + index * stride for index in range(count)]


def choose_window(
    height: int,
    width: int,
    target_height: int,
    target_width: int,
    crop: Literal["centre", "random", "subject"],
    rng: np.random.Generator,
    masks: Bool[np.ndarray, "frame {height} {width}"] | None = None,
) -> Window:
    """The part of the frames that is kept: the largest one with the target's proportions.

    Scaled to the target it is the same as resizing the short side and then cropping (supplement, section B: centre).
    With "subject" it is moved so far that it shows the subject, if `masks` tell where that is. (Ours.)
    """
    if crop == "subject" and masks is not None:
        return subject_window(masks, target_height, target_width)
    left, top, right, bottom = window = centre_window(height, width, target_height, target_width)
    if crop != "random":
        return window
    window_width, window_height = right - left, bottom - top
    left = int(rng.integers(width - window_width + 1))
    top = int(rng.integers(height - window_height + 1))
    return left, top, left + window_width, top + window_height
