"""The weights that come along do what they did when they were measured; see `shipped`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.magdiff_sd21_256 import TRAINABLE
from magdiff_jax.sharding.rules import apply_rules
from magdiff_jax.shipped import MINIATURE, MINIATURE_BASE
from tests.evaluation.shipped import measure
from tests.training.commands import model

# Rounding differs from machine to machine, and with it a case or two of twenty.
MARGINS = {"psnr": 0.5, "track_error": 0.3}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measure(tmp_path_factory.mktemp("shipped"))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("shipped.json").read_text())


@pytest.mark.parametrize("task", ["generation", "editing", "swapped"])
def test_recorded_figures(measured: dict[str, Any], recorded: dict[str, Any], task: str) -> None:
    assert measured["model"] == recorded["model"]
    assert measured[task].keys() == recorded[task].keys()
    for name, mean in measured[task].items():
        assert mean == pytest.approx(recorded[task][name], abs=MARGINS.get(name, 0.1)), name


def test_captions_decide_backgrounds_and_edits_follow_their_source(measured: dict[str, Any]) -> None:
    """What these weights have learnt; chance is 1 of 12 colours, 1 of 6 textures, 1 of 9 motions, 1 of 50 subjects."""
    for task in ("generation", "editing", "swapped"):
        assert measured[task]["colour"] > 0.8
        assert measured[task]["texture"] > 0.65
    assert measured["generation"]["motion"] > 0.75
    assert measured["generation"]["nearer/pixels"] > 0.88
    assert measured["generation"]["identity/pixels"] > 0.5
    assert measured["editing"]["motion"] > 0.9
    assert measured["editing"]["identity/pixels"] > 0.9
    assert measured["editing"]["psnr"] > 17.5


def test_another_picture_makes_another_subject(measured: dict[str, Any]) -> None:
    """Though the caption, and so the name, stays: what is made is more like the picture than other drawings are, that
    which bears the name among them.
    """
    assert measured["swapped"]["nearer/pixels"] > 0.75
    assert measured["swapped"]["shown"] > 0.65
    assert measured["swapped"]["motion"] > 0.25


def test_what_the_rules_of_the_paper_freeze_is_the_base_still() -> None:
    base, trained = model(MINIATURE_BASE), model(MINIATURE)
    trainable = apply_rules("trainable", TRAINABLE, trained)
    same = {path for path, value in trained.items() if path in base and np.array_equal(value, base[path])}
    assert same >= {path for path, moves in trainable.items() if not moves}
    assert not any(trainable[path] and path.endswith("kernel") for path in same)
