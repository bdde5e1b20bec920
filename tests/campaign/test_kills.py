"""Runs that are killed at a dozen moments, whatever they are at, and started again: as if nothing had come between."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.media.video import read_video
from tests.test_requests import alike, request, write_requests
from tests.training.commands import entries, finish, model, run, start

pytestmark = pytest.mark.campaign
KILLS = 12
# From before the first program is compiled to well after the first results.
EARLIEST, LATEST = 1.0, 30.0


def moments() -> np.ndarray:
    """Seconds after a start, of which each comes as likely as any other."""
    return np.random.default_rng(0).uniform(EARLIEST, LATEST, KILLS)


def kill_after(process: subprocess.Popen, seconds: float) -> None:
    """Kill a process unless it has ended by itself, and well."""
    try:
        process.wait(timeout=seconds)
        assert process.returncode == 0, process.communicate()[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def test_training(tmp_path: Path) -> None:
    flags = ["--config.steps=200", "--config.checkpoints.every=2", "--config.validation.every=50"]
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    finish(start(folders["whole"], *flags))
    for moment in moments():
        kill_after(start(folders["killed"], *flags), moment)
    finish(start(folders["killed"], *flags))
    models = []
    for name, workdir in folders.items():
        out = tmp_path / f"{name}-model"
        finish(run(sys.executable, "-m", "magdiff_jax.export", "--workdir", str(workdir), "--out", str(out)))
        models.append(model(out))
    for path, value in models[0].items():
        np.testing.assert_array_equal(models[1][path], value, err_msg=path)
    losses = [[(entry["step"], entry.get("loss")) for entry in entries(workdir)] for workdir in folders.values()]
    assert losses[0] == losses[1]


def test_many_videos(model_folder: Path, tmp_path: Path) -> None:
    count = 100
    requests = write_requests(tmp_path, *map(request, range(count)))
    command = [sys.executable, "-m", "magdiff_jax.generate", "--model", model_folder, "--requests", requests]

    def generate(out: Path) -> subprocess.Popen:
        return run(*map(str, [*command, "--out", out, "--steps=8", "--eta=0.5"]))

    out = tmp_path / "killed"
    for moment in moments():
        kill_after(generate(out), moment)
        # What is there is whole, with its record beside it or about to be written again.
        for path in out.glob("*.mp4"):
            assert len(read_video(path, 4).frames) == 4
    finish(generate(out))
    finish(generate(tmp_path / "whole"))
    names = {f"cat-{index}{suffix}" for index in range(count) for suffix in (".mp4", ".json")}
    assert {path.name for path in out.glob("[!.]*")} == names
    for index in range(count):
        one, other = (folder / f"cat-{index}.json" for folder in (out, tmp_path / "whole"))
        assert json.loads(one.read_text()) == json.loads(other.read_text())
        assert alike(one.with_suffix(".mp4"), other.with_suffix(".mp4"))
