"""Results of the suite side by side, as a table in Markdown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


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
    results = {
        label: json.loads((folder / "results.json").read_text(encoding="utf-8")) for label, folder in folders.items()
    }
    return "\n".join(_table(task, results) for task in COLUMNS)


def _table(task: str, results: Mapping[str, Any]) -> str:
    columns = COLUMNS[task]
    lines = [f"| {task} | " + " | ".join(column.heading for column in columns) + " |", "|---|" + "---|" * len(columns)]
    for label, result in results.items():
        if task in result:
            figures = {figure["name"]: figure for figure in result[task]["figures"]}
            cells = [_cell(column, figures.get(column.name)) for column in columns]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(column: Column, figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return ""
    mean, low, high = (f"{figure[key]:.{column.digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
