"""Means, intervals and the table."""

import json

import numpy as np

from magdiff_jax.evaluation.bootstrap import bootstrap
from magdiff_jax.evaluation.cases import cases
from magdiff_jax.evaluation.scores import score_edit, score_generation
from magdiff_jax.evaluation.summary import summarise, table, table_by_asked


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    intervals = [bootstrap(random.random(100) < 0.8) for _ in range(200)]
    assert 0.88 <= np.mean([low <= 0.8 <= high for low, high in intervals]) <= 0.99
    low, high = np.mean(intervals, axis=0)
    assert np.isclose(high - low, 2 * 1.96 * np.sqrt(0.8 * 0.2 / 100), rtol=0.1)
    assert bootstrap(np.ones(5)) == (1, 1)


def test_scores_are_json_and_make_a_table() -> None:
    scores = [score_edit(case, case.clip.frames(range(8))) for case in cases(3, 32)]
    again = json.loads(json.dumps([score.to_dict() for score in scores]))
    assert again == [score.to_dict() for score in scores]
    figures = summarise(scores)
    assert [figure.cases for figure in figures] == [3] * len(figures)
    lines = table("editing", figures).splitlines()
    assert lines[0] == "editing, 3 cases"
    assert len(lines) == 2 + len(figures)
    assert "track error" in lines[-1]
    # The clip as it was is no edit.
    assert next(figure.mean for figure in figures if figure.name == "colour") == 0
    assert summarise([]) == []
    assert table("nothing", []).startswith("nothing, no cases")


def test_what_is_asked_has_its_own_means() -> None:
    """The truth of all cases but the first, whose clip is another's: its motion alone goes down."""
    every = cases(18, 32)
    clips = [case.clip.frames(range(8)) for case in every]
    other = next(i for i, case in enumerate(every) if case.clip.sample.path.motion != every[0].clip.sample.path.motion)
    scores = [score_generation(case, clip) for case, clip in zip(every, [clips[other], *clips[1:]], strict=True)]
    header, *lines = table_by_asked("motion", ("motion", "identity/pixels"), scores).splitlines()
    assert header.split() == ["motion", "cases", "motion", "identity/pixels"]
    assert sum(int(line.split()[1]) for line in lines) == 18
    means = {line.split()[0]: float(line.split()[2]) for line in lines}
    wrong = means.pop(every[0].clip.sample.path.motion)
    assert wrong < 1
    assert set(means.values()) == {1.0}
