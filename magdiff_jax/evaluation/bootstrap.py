"""How sure a mean over cases is."""

import numpy as np

_RESAMPLES = 2000


def bootstrap(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean, by the percentiles of resampled means (Efron & Tibshirani 1993, chapter 13).

    Args:
        values: [n], of independent cases.
    """
    resampled = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[resampled].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
