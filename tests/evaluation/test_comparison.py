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
    lines = comparison({"MagDiff": tmp_path / "both", "text alone": tmp_path / "text"}).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0][1:] == [column.heading for column in COLUMNS]
    both, text = (dict(zip(rows[0], row, strict=True)) for row in rows[2:])
    assert (both[""], text[""]) == ("MagDiff", "text alone")
    assert both["motion"] == text["motion"] == "1.00 (1.00 to 1.00)"
    assert both["edit: colour"] == "1.00 (1.00 to 1.00)"
    # No vision tower has looked at these.
    assert both["identity, CLIP"] == ""
    assert {cell for heading, cell in text.items() if heading.startswith("edit")} == {""}


def test_a_sheet_shows_every_frame() -> None:
    frames = cases(1, 32)[0].clip.frames(range(8))
    picture = sheet([Shown("a caption", (("given", frames[:1]), ("made", frames)))])
    tiles = picture[-112:-16, 130:].reshape(96, -1, 3)
    for index, frame in enumerate(frames):
        left = index * 104
        np.testing.assert_array_equal(tiles[1::3, left + 1 : left + 96 : 3], frame)
