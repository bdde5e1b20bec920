"""Means of what steps, or the batches of a validation, report about themselves."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

SUMS, COUNTS = "quarter_sums", "quarter_counts"
_QUARTERS = [f"loss/quarter_{number}" for number in range(1, 5)]


class Means:
    """Averages each metric over the steps in which it was finite: an overflow's gradients have no norm.

    Scalars keep their names. `quarter_sums` and `quarter_counts`, [4] each, of the examples' losses by quarter of the
    timesteps, become `loss/quarter_1` (the least noise) to `loss/quarter_4`, without those that had no example.
    """

    def __init__(self) -> None:
        self._totals: dict[str, tuple[float, float]] = {}

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Count in a step's metrics, as they are once they were fetched from the device."""
        for name, total, count in _summands(metrics):
            before = self._totals.get(name, (0.0, 0.0))
            self._totals[name] = (before[0] + total, before[1] + count) if math.isfinite(total) else before

    def take(self) -> dict[str, float]:
        """The means since the last call; NaN for what was never finite."""
        means = {name: total / count if count else math.nan for name, (total, count) in self._totals.items()}
        self._totals = {}
        return means


def _summands(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    for name, value in metrics.items():
        if name not in (SUMS, COUNTS):
            yield name, float(value), 1.0
    if SUMS in metrics:
        for name, total, count in zip(_QUARTERS, metrics[SUMS], metrics[COUNTS], strict=True):
            if count:
                yield name, float(total), float(count)
