"""Results of the suite side by side, as a table in Markdown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A metric of results.json.

    Attributes:
        task: "generation" or "editing".
        name: of the metric.
        heading: over it.
        digits: behind the point.
    """

    task: str
    name: str
    heading: str
    digits: int = 2


COLUMNS = (
    Column("generation", "identity/pixels", "identity, pixels"),
    Column("generation", "identity/clip", "identity, CLIP"),
    Column("generation", "nearer/pixels", "nearer"),
    Column("generation", "motion", "motion"),
    Column("generation", "colour", "colour"),
    Column("generation", "texture", "texture"),
    Column("generation", "consistency/pixels", "consistency"),
    Column("editing", "identity/pixels", "edit: identity"),
    Column("editing", "nearer/pixels", "edit: nearer"),
    Column("editing", "motion", "edit: motion"),
    Column("editing", "colour", "edit: colour"),
    Column("editing", "psnr", "edit: PSNR, dB", 1),
    Column("editing", "track_error", "edit: track error, px"),
)


def comparison(folders: Mapping[str, Path]) -> str:
    """Means with their 95 % intervals, a row for each folder that `magdiff_jax.evaluate` wrote, by the row's name.

    What a model cannot do, as a text-to-video model no edits, is left empty.
    """
    lines = ["| | " + " | ".join(column.heading for column in COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for label, folder in folders.items():
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        figures = {
            (task, figure["name"]): figure
            for task in ("generation", "editing")
            for figure in results.get(task, {}).get("figures", ())
        }
        cells = [_cell(column, figures.get((column.task, column.name))) for column in COLUMNS]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(column: Column, figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return ""
    mean, low, high = (f"{figure[key]:.{column.digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
