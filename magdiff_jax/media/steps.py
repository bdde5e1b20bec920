"""When the frames of a source are shown, and which of them a constant rate shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Timeline:
    """When frames are shown.

    Attributes:
        times: at which each appears, in ticks, ascending.
        end: when the last one disappears, in ticks; later than it appears.
        tick: in seconds.
        rate: that the source states, in frames per second; believed where it shows each frame once. None for none.
    """

    times: Int[np.ndarray, "frame"]
    end: int
    tick: Fraction
    rate: Fraction | None

    def even_steps(self) -> tuple[float, Int[np.ndarray, "frame"]]:
        """The average rate of frames, and which of them is shown at each of as many even steps.

        Step i shows what is on screen in its middle, (i + 1/2) / rate after the beginning, as FFmpeg's `fps` filter
        does. So frames at a constant rate are shown once each, however their times are rounded.
        """
        frames = np.arange(len(self.times))
        if self.has_constant_rate:
            assert self.rate is not None
            return float(self.rate), frames
        step = Fraction(int(self.end - self.times[0]), len(self.times))
        return float(1 / (step * self.tick)), self._shown(step)

    def rate_of(self, frames: Sequence[int]) -> float:
        """Frames per second of some frames that are equally many apart: the source's, or by their own times."""
        stride = frames[1] - frames[0] if len(frames) > 1 else 1
        if self.has_constant_rate:
            assert self.rate is not None
            return float(self.rate / stride)
        first, after = int(self.times[frames[0]]), frames[-1] + stride
        ends = [*self.times.tolist(), self.end]
        if after < len(ends):
            return float(len(frames) / ((ends[after] - first) * self.tick))
        if len(frames) > 1:
            return float((len(frames) - 1) / ((ends[frames[-1]] - first) * self.tick))
        return float(len(self.times) / (stride * (self.end - ends[0]) * self.tick))

    @property
    def has_constant_rate(self) -> bool:
        """Whether the rate that the source states shows each frame once."""
        if not self.rate:
            return False
        return bool((self._shown(1 / (self.rate * self.tick)) == np.arange(len(self.times))).all())

    def _shown(self, step: Fraction) -> np.ndarray:
        middles = self.times[0] + (np.arange(len(self.times)) + 0.5) * float(step)
        return np.searchsorted(self.times, middles, side="right") - 1
