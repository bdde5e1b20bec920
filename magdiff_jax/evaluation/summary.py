"""Means over the cases, with their intervals, as tables for people."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from magdiff_jax.data.emoji.backgrounds import COLOURS, TEXTURES
from magdiff_jax.data.emoji.motions import MOTIONS
from magdiff_jax.evaluation.bootstrap import bootstrap
from magdiff_jax.evaluation.cases import REFERENCES
from magdiff_jax.evaluation.scores import Score

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
    cases = f"{figures[0].cases} cases" if figures else "no cases"
    return "\n".join([f"{title}, {cases}", *_aligned(rows)])


def table_by_asked(what: str, metrics: Sequence[str], scores: Sequence[Score]) -> str:
    """Lines of text: for each value that captions ask for, the number of cases and the means of some metrics.

    Args:
        what: a key of the scores' `asked`, as "motion".
        metrics: names of figures of the scores.
        scores: of one task.
    """
    asked: dict[str, list[Score]] = {}
    for score in scores:
        asked.setdefault(score.asked[what], []).append(score)
    rows = [(what, "cases", *metrics)]
    for value, those in sorted(asked.items()):
        means = [np.mean([score.figures[metric] for score in those]) for metric in metrics]
        rows.append((value, str(len(those)), *[f"{mean:.3f}" for mean in means]))
    return "\n".join(_aligned(rows))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
