"""Even time steps: which frame of a source a constant rate shows at each step."""

from fractions import Fraction

import numpy as np
from jaxtyping import Int


def even_steps(
    times: Int[np.ndarray, "frame"], end: int, tick: Fraction, rate: Fraction | None
) -> tuple[float, Int[np.ndarray, "frame"]]:
    """The average rate of frames, and which of them is shown at each of as many even steps.

    Step i shows what is on screen in its middle, (i + 1/2) / rate after the beginning, as FFmpeg's `fps` filter does.
    So frames at a constant rate are shown once each, however their times are rounded.

    Args:
        times: at which each frame appears, in ticks, ascending.
        end: when the last one disappears, in ticks; later than it appears.
        tick: in seconds.
        rate: that the source states, in frames per second; believed where it shows each frame once.

    Returns:
        Frames per second, and the frame of each step.
    """
    frames = np.arange(len(times))
    if rate and (_shown(times, 1 / (rate * tick)) == frames).all():
        return float(rate), frames
    step = Fraction(int(end - times[0]), len(times))
    return float(1 / (step * tick)), _shown(times, step)


def _shown(times: np.ndarray, step: Fraction) -> np.ndarray:
    middles = times[0] + (np.arange(len(times)) + 0.5) * float(step)
    return np.searchsorted(times, middles, side="right") - 1
