"""Results side by side, and clips to look at."""

import json
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.evaluation.cases import cases
from magdiff_jax.evaluation.comparison import COLUMNS, comparison, differences
from magdiff_jax.evaluation.miniature import Result, to_json
from magdiff_jax.evaluation.scores import Score, score_edit, score_generation
from magdiff_jax.evaluation.sheet import Shown, sheet


def test_a_row_for_each_result_and_nothing_where_a_model_edits_nothing(tmp_path: Path) -> None:
    asked = cases(4, 64)
    generated = Result([score_generation(case, case.clip.frames(range(8))) for case in asked], [])
    edited = Result([score_edit(case, case.edit.frames(range(8))) for case in asked], [])
    write(tmp_path / "both", {"generation": generated, "editing": edited})
    write(tmp_path / "text", {"generation": generated})
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


def test_each_case_is_compared_with_itself(tmp_path: Path) -> None:
    """Cases differ among themselves by far more than the results do: pairs tell the results apart all the same."""
    random = np.random.default_rng(0)
    true = [score_generation(case, case.clip.frames(range(8))) for case in cases(9, 32)]
    first = [with_consistency(score, value) for score, value in zip(true, random.random(9), strict=True)]
    higher = [with_consistency(score, score.figures["consistency/pixels"] + 0.1) for score in first]
    lower = [with_consistency(score, score.figures["consistency/pixels"] - 0.1) for score in first]
    unsure = [with_consistency(score, random.random()) for score in first]
    # In another order, and one motion of nine is wrong.
    wrong = [first[0]._replace(figures={**first[0].figures, "motion": 0.0}), *first[1:]][::-1]
    written = {"MagDiff": first, "higher": higher[::-1], "lower": lower, "unsure": unsure, "wrong": wrong}
    for name, scores in written.items():
        write(tmp_path / name, {"generation": Result(scores, [])})
    text = differences({name: tmp_path / name for name in written})
    heading, _, *lines = (cells(line) for line in text.splitlines())
    assert heading[0] == "generation, less MagDiff"
    rows = {row[0]: dict(zip(heading[1:], row[1:], strict=True)) for row in lines}
    assert list(rows) == ["higher", "lower", "unsure", "wrong"]
    assert rows["higher"]["consistency"] == "**+0.10 (+0.10 to +0.10)**"
    assert rows["lower"]["consistency"] == "**-0.10 (-0.10 to -0.10)**"
    assert rows["higher"]["motion"] == rows["wrong"]["consistency"] == "+0.00 (+0.00 to +0.00)"
    assert rows["wrong"]["motion"] == "-0.11 (-0.33 to +0.00)"
    assert "**" not in rows["unsure"]["consistency"]


def test_other_cases_are_not_compared(tmp_path: Path) -> None:
    scores = [score_generation(case, case.clip.frames(range(8))) for case in cases(3, 32)]
    for name, count in (("few", 2), ("many", 3)):
        write(tmp_path / name, {"generation": Result(scores[:count], [])})
    for labels in (("few", "many"), ("many", "few")):
        with pytest.raises(UserError, match="different cases"):
            differences({label: tmp_path / label for label in labels})


def with_consistency(score: Score, value: float) -> Score:
    return score._replace(figures={**score.figures, "consistency/pixels": value})


def write(folder: Path, results: dict[str, Result]) -> None:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(to_json(results)))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_sheet_shows_every_frame() -> None:
    frames = cases(1, 32)[0].clip.frames(range(8))
    picture = sheet([Shown("a caption", (("given", frames[:1]), ("made", frames)))])
    tiles = picture[-112:-16, 130:].reshape(96, -1, 3)
    for index, frame in enumerate(frames):
        left = index * 104
        np.testing.assert_array_equal(tiles[1::3, left + 1 : left + 96 : 3], frame)
