"""Results side by side, and clips to look at."""

import json
from pathlib import Path

import numpy as np

from magdiff_jax.evaluation.cases import cases
from magdiff_jax.evaluation.comparison import COLUMNS, comparison
from magdiff_jax.evaluation.miniature import Result, to_json
from magdiff_jax.evaluation.scores import score_edit, score_generation
from magdiff_jax.evaluation.sheet import Shown, sheet


def test_a_row_for_each_result_and_nothing_where_a_model_edits_nothing(tmp_path: Path) -> None:
    asked = cases(4, 64)
    generated = Result([score_generation(case, case.clip.frames(range(8))) for case in asked], [])
    edited = Result([score_edit(case, case.edit.frames(range(8))) for case in asked], [])
    for name, results in (("both", {"generation": generated, "editing": edited}), ("text", {"generation": generated})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(to_json(results)))
    text = comparison({"MagDiff": tmp_path / "both", "text alone": tmp_path / "text"})
    generation, editing = ([cells(line) for line in part.splitlines()] for part in text.split("\n\n"))
    for task, rows in (("generation", generation), ("editing", editing)):
        assert rows[0] == [task, *(column.heading for column in COLUMNS[task])]
    both, alone = (dict(zip(generation[0], row, strict=True)) for row in generation[2:])
    assert (both["generation"], alone["generation"]) == ("MagDiff", "text alone")
    assert both["motion"] == alone["motion"] == "1.00 (1.00 to 1.00)"
    # No vision tower has looked at these.
    assert both["identity, CLIP"] == ""
    (edits,) = (dict(zip(editing[0], row, strict=True)) for row in editing[2:])
    assert edits["editing"] == "MagDiff"
    assert edits["colour"] == "1.00 (1.00 to 1.00)"
    assert edits["track error, px"] == "0.00 (0.00 to 0.00)"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_sheet_shows_every_frame() -> None:
    frames = cases(1, 32)[0].clip.frames(range(8))
    picture = sheet([Shown("a caption", (("given", frames[:1]), ("made", frames)))])
    tiles = picture[-112:-16, 130:].reshape(96, -1, 3)
    for index, frame in enumerate(frames):
        left = index * 104
        np.testing.assert_array_equal(tiles[1::3, left + 1 : left + 96 : 3], frame)
