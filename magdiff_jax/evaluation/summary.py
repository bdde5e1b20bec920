"""Means over the cases, with their intervals, as a table for people."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from magdiff_jax.data.emoji.backgrounds import COLOURS, TEXTURES
from magdiff_jax.data.emoji.motions import MOTIONS
from magdiff_jax.evaluation.cases import REFERENCES
from magdiff_jax.evaluation.scores import Score

_RESAMPLES = 2000
_CHANCE = {
    "identity": 1 / REFERENCES,
    "nearer": 0.5,
    "motion": 1 / len(MOTIONS),
    "colour": 1 / len(COLOURS),
    "texture": 1 / len(TEXTURES),
    "background": 1 / len(COLOURS) / len(TEXTURES),
}


class Figure(NamedTuple):
    """The mean of a metric over cases.

    Attributes:
        name: of the metric.
        mean: over the cases.
        low: end of the mean's 95 % interval.
        high: the other end.
        cases: how many.
    """

    name: str
    mean: float
    low: float
    high: float
    cases: int


def summarise(scores: Sequence[Score]) -> list[Figure]:
    """The figures of all metrics that the scores have; all scores have the same."""
    names = list(scores[0].figures) if scores else []
    values = {name: np.array([score.figures[name] for score in scores]) for name in names}
    return [Figure(name, float(v.mean()), *bootstrap(v), len(v)) for name, v in values.items()]


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


def table(title: str, figures: Sequence[Figure]) -> str:
    """Lines of text: the metrics with mean, interval and, where there is one, what chance gives."""
    rows = [("", "mean", "95 % interval", "chance")]
    for figure in figures:
        chance = _CHANCE.get(figure.name.split("/")[0])
        rows.append(
            (
                figure.name.replace("_", " "),
                f"{figure.mean:.3f}",
                f"{figure.low:.3f} to {figure.high:.3f}",
                "" if chance is None else f"{chance:.3f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cases = f"{figures[0].cases} cases" if figures else "no cases"
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"{title}, {cases}", *lines])
