"""The weights that come along do what their card says, on 20 cases, in processes as their users run them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.commands import ROOT

CASES, STEPS, GUIDANCE = "20", "25", "3"
RECORDED = json.loads(Path(__file__).with_name("shipped.json").read_text())
# Rounding differs from machine to machine, and with it a case or two of twenty.
MARGINS = {"psnr": 0.5, "track_error": 0.3}


def run(*command: str) -> str:
    # Compiled as for users: what takes long here is computing.
    environment = {**os.environ, "XLA_FLAGS": ""}
    command = (sys.executable, *command)
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("shipped") / "results"
    settings = ("--cases", CASES, "--batch", CASES, "--steps", STEPS, "--guidance-scale", GUIDANCE)
    run("-m", "magdiff_jax.evaluate", "--suite", "miniature", *settings, "--out", str(out))
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize("task", ["generation", "editing"])
def test_recorded_figures(results: dict[str, Any], task: str) -> None:
    assert results["model"] == RECORDED["model"]
    figures = {figure["name"]: figure["mean"] for figure in results[task]["figures"]}
    assert figures.keys() == RECORDED[task].keys()
    for name, mean in figures.items():
        assert mean == pytest.approx(RECORDED[task][name], abs=MARGINS.get(name, 0.1)), name


def test_the_picture_decides_the_subject_and_the_prompt_the_rest(results: dict[str, Any]) -> None:
    swapped = json.loads(run("tests/evaluation/swapped.py", CASES, STEPS, GUIDANCE))
    for name, mean in swapped.items():
        assert mean == pytest.approx(RECORDED["swapped"][name], abs=MARGINS.get(name, 0.1)), name
    # Far from what chance gives: 1 of 50 subjects, 9 motions, 12 colours.
    assert swapped["identity/pixels"] > 0.3
    assert swapped["motion"] > 0.4
    assert swapped["colour"] > 0.6
