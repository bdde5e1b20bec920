"""How sure a mean over cases is."""

import numpy as np

_RESAMPLES = 2000


def bootstrap(values: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The interval of a mean, by the percentiles of resampled means (Efron & Tibshirani 1993, chapter 13).

    Args:
        values: [n], of independent cases.
        level: the interval's share of the resampled means.
        seed: of the resampling.
    """
    random = np.random.default_rng(seed)
    means = values[random.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
