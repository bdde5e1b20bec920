"""Results of the suite side by side, as tables in Markdown."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.evaluation.bootstrap import bootstrap

_Row = TypeVar("_Row")


class Column(NamedTuple):
    """A metric of results.json.

    Attributes:
        name: of the metric.
        heading: over it.
        digits: behind the point.
    """

    name: str
    heading: str
    digits: int = 2


_BOTH = (
    Column("identity/pixels", "identity, pixels"),
    Column("identity/clip", "identity, CLIP"),
    Column("nearer/pixels", "nearer"),
    Column("motion", "motion"),
    Column("colour", "colour"),
    Column("texture", "texture"),
)
COLUMNS = {
    "generation": (*_BOTH, Column("consistency/pixels", "consistency")),
    "editing": (*_BOTH, Column("psnr", "PSNR, dB", 1), Column("track_error", "track error, px")),
}


def comparison(folders: Mapping[str, Path]) -> str:
    """A table for each task: means with their 95 % intervals, a row for each folder that `magdiff_jax.evaluate` wrote,
    by the row's name.

    What a model cannot do, as a text-to-video model no edits, is left out.
    """
    results = _read(folders)
    return "\n".join(_table(task, COLUMNS[task], results[task], _mean) for task in COLUMNS)


def differences(folders: Mapping[str, Path]) -> str:
    """A table for each task: how much higher each mean is than the first folder's, with 95 % intervals, in bold where
    those leave out zero.

    Each case is compared with itself: what makes it hard for all takes no part (the bootstrap of paired differences).

    Raises:
        UserError: the folders are not of the same cases.
    """
    tables = []
    for task, results in _read(folders).items():
        if results:
            (name, first), *others = results.items()
            for label, other in others:
                if {case["case"] for case in other["cases"]} != {case["case"] for case in first["cases"]}:
                    raise UserError(f"{label} and {name} were measured on different cases: measure both on the same")
            pairs = {label: (first, other) for label, other in others}
            tables.append(_table(f"{task}, less {name}", COLUMNS[task], pairs, _difference))
    return "\n".join(tables)


def _read(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """By task and label, what the folders' results.json have of it."""
    results = {
        label: json.loads((folder / "results.json").read_text(encoding="utf-8")) for label, folder in folders.items()
    }
    return {task: {label: result[task] for label, result in results.items() if task in result} for task in COLUMNS}


def _table(
    heading: str, columns: Sequence[Column], rows: Mapping[str, _Row], cell: Callable[[Column, _Row], str]
) -> str:
    lines = [
        f"| {heading} | " + " | ".join(column.heading for column in columns) + " |",
        "|---|" + "---|" * len(columns),
        *(f"| {label} | " + " | ".join(cell(column, row) for column in columns) + " |" for label, row in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _mean(column: Column, result: Mapping[str, Any]) -> str:
    figures = {figure["name"]: figure for figure in result["figures"]}
    if column.name not in figures:
        return ""
    mean, low, high = (f"{figures[column.name][key]:.{column.digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def _difference(column: Column, pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
    first, other = ({case["case"]: case["figures"] for case in result["cases"]} for result in pair)
    if any(column.name not in figures for figures in (*first.values(), *other.values())):
        return ""
    values = np.array([other[case][column.name] - first[case][column.name] for case in first])
    low, high = bootstrap(values)
    mean, *interval = (f"{value:+.{column.digits}f}" for value in (values.mean(), low, high))
    text = f"{mean} ({' to '.join(interval)})"
    return f"**{text}**" if low > 0 or high < 0 else text
