"""The weights that come along do what they did when they were measured, on 20 cases, in processes as users run them.

`python -m tests.evaluation.test_shipped > tests/evaluation/shipped.json` measures anew, after other weights have come.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.training.commands import ROOT

CASES, STEPS, GUIDANCE = "20", "25", "3"
# Rounding differs from machine to machine, and with it a case or two of twenty.
MARGINS = {"psnr": 0.5, "track_error": 0.3}


def run(*command: str) -> str:
    # Compiled as for users: what takes long here is computing.
    environment = {**os.environ, "XLA_FLAGS": ""}
    command = (sys.executable, *command)
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def measure(folder: Path) -> dict[str, Any]:
    """Mean figures by task, and the model's fingerprint."""
    settings = ("--cases", CASES, "--batch", CASES, "--steps", STEPS, "--guidance-scale", GUIDANCE)
    run("-m", "magdiff_jax.evaluate", "--suite", "miniature", *settings, "--out", str(folder / "results"))
    results = json.loads((folder / "results/results.json").read_text())
    tasks = {
        task: {figure["name"]: figure["mean"] for figure in results[task]["figures"]}
        for task in ("generation", "editing")
    }
    swapped = json.loads(run("-m", "tests.evaluation.swapped", CASES, STEPS, GUIDANCE))
    return {"model": results["model"], **tasks, "swapped": swapped}


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


def test_the_picture_decides_the_subject_and_the_prompt_the_rest(measured: dict[str, Any]) -> None:
    """Subjects and prompts of different cases; far from what chance gives: 1 of 50 subjects, 9 motions, 12 colours."""
    assert measured["swapped"]["identity/pixels"] > 0.3
    assert measured["swapped"]["motion"] > 0.4
    assert measured["swapped"]["colour"] > 0.6


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as beside:
        print(json.dumps(measure(Path(beside)), indent=1))
