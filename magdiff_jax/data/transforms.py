"""Which frames of a clip, and which part of them, an example is made of."""

from typing import Literal

import numpy as np

from magdiff_jax.media.images import Window, centre_window


def choose_frames(
    length: int,
    count: int,
    stride: int,
    rng: np.random.Generator | None,
    areas: np.ndarray | None = None,
) -> list[int]:
    """The indices of `count` frames, `stride` apart, from a clip of `length` frames (released code).

    Where the clip is too short for that stride, the frames are spread evenly over it: frame i of them is
    floor(i · length / count), so that some come twice where there are fewer than `count`.

    Args:
        length: frames of the clip, at least 1.
        count: frames wanted.
        stride: from one to the next, at least 1.
        rng: draws the first frame from all that leave room for the rest; None: the clip's first frame.
        areas: the subject's share of each frame. A clip that is drawn starts with a frame that shows its subject, where
            there is one: that frame is the one that the subject is cut out of. (Ours; the released code draws any.)
    """
    room = length - (count - 1) * stride
    if room < 1:
        return [index * length // count for index in range(count)]
    starts = np.arange(room)
    if areas is not None and areas[starts].any():
        starts = starts[areas[starts] > 0]
    start = int(starts[0] if rng is None else rng.choice(starts))
    return [start + index * stride for index in range(count)]


def choose_window(
    height: int, width: int, target_height: int, target_width: int, crop: Literal["centre", "random"],
    rng: np.random.Generator,
) -> Window:  # fmt: skip
    """The part of the frames that is kept: the largest one with the target's proportions.

    Scaled to the target it is the same as resizing the short side and then cropping (supplement, section B: centre).
    """
    left, top, right, bottom = window = centre_window(height, width, target_height, target_width)
    if crop == "centre":
        return window
    window_width, window_height = right - left, bottom - top
    left = int(rng.integers(width - window_width + 1))
    top = int(rng.integers(height - window_height + 1))
    return left, top, left + window_width, top + window_height
