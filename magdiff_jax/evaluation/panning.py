"""Which way a background's texture moves."""

from itertools import pairwise

import numpy as np

from magdiff_jax.data.clip import Frames, Masks
from magdiff_jax.evaluation.colours import Tint

_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
# Of the frame's shorter side, from the first frame to the last; `backgrounds.draw` takes 0.25 to 0.4.
_DISTANCES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
# A texture pans if that explains the frames this much better than being at rest, in the squared difference.
_LESS_DIFFERENCE = 0.88
# In squares of the shade's amount: what blur alone may change from frame to frame.
_LEAST_DIFFERENCE = 0.004


def read_panning(frames: Frames, masks: Masks, tint: Tint) -> str:
    """The direction: "left", "right", "up", "down", or "" for none. Ask only where there is a texture.

    Successive frames are laid over each other as if the texture had moved by what EmojiMotion's do. Of diagonal stripes
    two directions look the same, so that either may be read.
    """
    amounts = tint.amounts(frames.astype(np.float32))
    short, last = min(frames.shape[1:3]), len(frames) - 1

    def difference(step: tuple[int, int], distance: float) -> float:
        """Of the shade's amounts where both of two frames show the background."""
        shifts = [round(distance * short * index / last) for index in range(len(frames))]
        total, count = 0.0, 1
        for (one, next_one), (shift, next_shift) in zip(pairwise(range(len(frames))), pairwise(shifts), strict=True):
            before, after = _overlap(step, next_shift - shift, *frames.shape[1:3])
            clear = ~(masks[one][before] | masks[next_one][after])
            total += float(((amounts[one][before] - amounts[next_one][after])[clear] ** 2).sum())
            count += int(clear.sum())
        return total / count

    rest = difference((0, 0), 0.0)
    differences = {name: min(difference(step, distance) for distance in _DISTANCES) for name, step in _STEPS.items()}
    best = min(differences, key=lambda name: differences[name])
    return best if rest > _LEAST_DIFFERENCE and differences[best] < _LESS_DIFFERENCE * rest else ""


def _overlap(step: tuple[int, int], shift: int, height: int, width: int) -> tuple[tuple, tuple]:
    """The parts of a frame and of the next that show the same of a texture that has moved by `shift` pixels."""
    x, y = (shift * way for way in step)
    before = slice(max(0, -y), height - max(0, y)), slice(max(0, -x), width - max(0, x))
    after = slice(max(0, y), height - max(0, -y)), slice(max(0, x), width - max(0, -x))
    return before, after
