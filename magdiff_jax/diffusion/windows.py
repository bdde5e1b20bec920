"""Clips longer than a model's: windows that overlap, blended at every step (MultiDiffusion, Bar-Tal et al. 2023).

MultiDiffusion (eq. 5) denoises windows of one picture and averages them where they overlap; here the windows lie along
time, as in Gen-L-Video (Wang et al. 2023). All begin a step from the same latents, and a DDIM step is linear in the
prediction: to average the predictions is to average the steps.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Windows(NamedTuple):
    """Where the windows of a long clip lie.

    Attributes:
        frames: of each window, in order.
        shares: of the windows' predictions in that of each frame; they add up to 1 for every frame.
    """

    frames: Int[np.ndarray, "window frame"]
    shares: Float[np.ndarray, "window frame"]


def make_windows(length: int, window: int, overlap: int) -> Windows:
    """Windows of `window` frames that cover `length` of them, each of at least `overlap` frames of the one before.

    The last window ends with the clip. Towards a window's ends its share falls linearly, so that nothing changes at
    once where it begins.

    Args:
        length: of the clip, at least `window`.
        window: frames.
        overlap: frames, fewer than `window`.
    """
    starts = np.append(np.arange(0, length - window, window - overlap), length - window)
    frames = starts[:, None] + np.arange(window)
    from_end = np.minimum(np.arange(window), np.arange(window)[::-1]) + 1
    weights = np.broadcast_to(np.minimum(from_end, overlap + 1), frames.shape).astype(np.float32)
    total = np.bincount(frames.ravel(), weights.ravel(), length)
    return Windows(frames, (weights / total[frames]).astype(np.float32))
