"""The evaluation as its users run it, of a model that has learnt nothing."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax import UserError, evaluate
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.media.images import read_image
from magdiff_jax.models import Component
from magdiff_jax.pipeline import MagDiff
from magdiff_jax.tokenizer import Tokenizer
from magdiff_jax.weights.directory import ModelConfig
from tests.conftest import random_component


@pytest.fixture(scope="module")
def model(components: dict[str, Component], tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "eight-frames"
    MagDiff(ModelConfig(frames=8, resolution=32), ScheduleConfig(), components, tokenizer, "").save(folder)
    return folder


def run(model: Path, out: Path, *flags: str) -> None:
    fixed = ["--suite=miniature", "--cases=3", "--batch=2", "--steps=2"]
    evaluate.main([f"--model={model}", f"--out={out}", *fixed, *flags])


def test_results_a_table_and_pictures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results"
    run(model, out)
    results = json.loads((out / "results.json").read_text())
    assert (results["cases"], results["seed"], results["steps"]) == (3, 0, 2)
    for task in ("generation", "editing"):
        assert len(results[task]["cases"]) == 3
        figures = {figure["name"]: figure for figure in results[task]["figures"]}
        assert {"identity/pixels", "identity/clip", "motion", "colour", "texture"} <= figures.keys()
        for figure in figures.values():
            assert figure["low"] <= figure["mean"] <= figure["high"]
    assert {"psnr", "track_error"} <= figures.keys()
    # Nothing but noise: its subject is not there.
    assert figures["psnr"]["mean"] < 15
    generated, edited = (read_image(out / f"{task}.png").rgb for task in ("generation", "editing"))
    # Given are one picture of the subject, and every frame of the clip to edit.
    second = np.s_[22:118, 234:330]
    assert (generated[second] == 255).all()
    assert not (edited[second] == 255).all()
    text = (out / "table.txt").read_text()
    assert text in capsys.readouterr().out
    assert "editing, 3 cases" in text
    # What the captions asked for, each by itself.
    headers = [line.split()[:3] for line in text.splitlines()]
    assert headers.count(["motion", "cases", "motion"]) == headers.count(["texture", "cases", "texture"]) == 2

    with pytest.raises(UserError, match="add --overwrite"):
        run(model, out)
    run(model, out, "--overwrite", "--cases=1", "--batch=1")
    assert json.loads((out / "results.json").read_text())["cases"] == 1


def test_a_text_to_video_model_generates_only(
    components: dict[str, Component], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    unet = random_component("unet", dataclasses.replace(components["unet"].config, apa=False, hfa_levels=()))
    parts = {name: components[name] for name in ("vae", "text_encoder")} | {"unet": unet}
    MagDiff(ModelConfig(frames=8, resolution=32), ScheduleConfig(), parts, tokenizer, "").save(tmp_path / "base")
    run(tmp_path / "base", tmp_path / "results")
    assert json.loads((tmp_path / "results" / "results.json").read_text()).keys() & {"generation", "editing"} == {
        "generation"
    }


def test_mistakes(model: Path, model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clips of 4 frames; the suite has 8"):
        run(model_folder, tmp_path / "out")
    with pytest.raises(UserError, match="at least 1"):
        run(model, tmp_path / "out", "--cases=0")
    with pytest.raises(UserError, match="is not a folder: create it"):
        run(model, tmp_path / "nowhere" / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    with pytest.raises(UserError, match="holds something else"):
        run(model, tmp_path / "mine", "--overwrite")
    assert not (tmp_path / "out").exists()
