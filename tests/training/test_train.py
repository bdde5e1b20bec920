"""The command: ended in every way and started again, damaged, misconfigured, exported."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import magdiff_jax.export
from magdiff_jax import generate, train
from magdiff_jax.errors import UserError
from tests.training.commands import (
    ROOT,
    TINY,
    entries,
    finish,
    free_address,
    losses,
    model,
    of_two,
    overwrite_64_bytes,
    run,
    run_several,
    start,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing came in the way of, with its model beside it."""
    workdir: Path = tmp_path_factory.mktemp("whole") / "run"
    finish(start(workdir, "--config.validation.sample_every=6"))
    out = workdir.parent / "model"
    finish(run(sys.executable, "-m", "magdiff_jax.export", "--workdir", str(workdir), "--out", str(out)))
    return workdir


def export(workdir: Path, out: Path, *flags: str) -> None:
    magdiff_jax.export.main([f"--workdir={workdir}", f"--out={out}", *flags])


def wait_for(process: subprocess.Popen, path: Path) -> None:
    for _ in range(6000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def assert_same_model(one: Path, other: Path) -> None:
    expected, found = model(one), model(other)
    assert expected.keys() == found.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_killed_and_started_again_is_as_never_stopped(whole: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    # More steps than it will get to: it is killed while it trains.
    process = start(workdir, "--config.steps=2000", "--config.checkpoints.every=3")
    wait_for(process, workdir / "checkpoints" / "3" / "commit_success.txt")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for step in sorted((workdir / "checkpoints").iterdir()):
        if step.name != "3":  # of what it was ahead; the test is to go on from the first
            shutil.rmtree(step)
    (errors,) = finish(start(workdir))
    assert "going on from step 3 of 6" in errors
    export(workdir, tmp_path / "model")
    assert_same_model(whole.parent / "model", tmp_path / "model")
    assert [entry["step"] for entry in entries(workdir)] == [entry["step"] for entry in entries(whole)]


def test_sigterm_saves_and_leaves_with_status_0(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    process = start(workdir, "--config.steps=5000", "--config.checkpoints.every=5000", "--config.validation.every=5000")
    wait_for(process, workdir / "metrics.jsonl")
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "stopped by SIGTERM after step" in output
    step = int(output.split("after step ")[1].split(",")[0])
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == [str(step)]


def test_sigterm_ends_two_processes_that_went_on_from_a_checkpoint(whole: Path, tmp_path: Path) -> None:
    """The signal may come before the first step, while all is compiled."""
    workdir, address = tmp_path / "run", free_address()
    shutil.copytree(whole, workdir)
    (workdir / "metrics.jsonl").unlink()
    flags = ["--config.steps=5000", "--config.checkpoints.every=5000", "--config.validation.every=5000"]
    processes = [start(workdir, *flags, *of_two(process, address)) for process in (0, 1)]
    wait_for(processes[0], workdir / "metrics.jsonl")
    for process in processes:
        process.send_signal(signal.SIGTERM)
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert "stopped by SIGTERM after step" in results[0][0]


def test_losses_that_are_not_finite_end_the_run_after_saving(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    hopeless = ["--config.optimizer.learning_rate=1e38", "--config.optimizer.warmup_steps=0", "--config.steps=20"]
    with pytest.raises(UserError) as caught:
        train.main([f"--config={TINY}", f"--workdir={workdir}", *hopeless, "--config.checkpoints.every=50"])
    last = str(caught.value)
    assert "the loss was not finite in the steps 2, 3, 4: lower the learning rate, or look at their clips" in last
    assert "emoji_motion/" in last
    (saved,) = (workdir / "checkpoints").iterdir()
    assert f"the run is saved at step {saved.name}" in last


def test_damage_is_named_and_the_last_good_checkpoint_is_used(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    overwrite_64_bytes(workdir / "checkpoints" / "6")
    with pytest.warns(UserWarning, match=r"checkpoints/6 is damaged and not used"):
        train.main([f"--config={TINY}", f"--workdir={workdir}"])
    assert "going on from step 3 of 6" in capsys.readouterr().err
    export(workdir, tmp_path / "model")
    assert_same_model(whole.parent / "model", tmp_path / "model")


def test_exported_model_generates(whole: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((20, 20, 3), 200, np.uint8)).save(tmp_path / "subject.png")
    command = [f"--model={whole.parent / 'model'}", "--steps=2", "--prompt=a"]
    out = tmp_path / "clip.gif"
    generate.main([*command, f"--subject={tmp_path / 'subject.png'}", f"--out={out}"])
    assert out.stat().st_size > 100
    start_model, trained = model(whole / "start"), model(whole.parent / "model")
    moved = {path.split("/")[0] for path, value in trained.items() if not np.array_equal(value, start_model[path])}
    assert moved == {"unet", "resampler"}


def test_exported_in_half_precision(whole: Path, tmp_path: Path) -> None:
    export(whole, tmp_path / "half", "--dtype=float16")
    half = model(tmp_path / "half")
    assert {str(value.dtype) for value in half.values()} == {"float16"}
    for path, value in model(whole.parent / "model").items():
        np.testing.assert_array_equal(half[path], value.astype(np.float16))


def test_samples_and_overview_are_written(whole: Path) -> None:
    assert {path.name for path in (whole / "samples").iterdir()} == {"00000006-generate-0.gif", "00000006-edit-0.gif"}
    assert "unet/conv_in/kernel" in (whole / "parameters.txt").read_text()
    last = losses(whole)[6, "validation/loss"]
    assert 0.1 < last < 2
    assert {"loss/quarter_1", "apa/image/mid_block", "learning_rate", "loss_scale", "memory_gb"} <= entries(whole)[
        0
    ].keys()


MISTAKES = [
    (["--config.stesp=3"], "stesp"),
    (["--config.steps=many"], "steps"),
    (["--config.batch_size=7", "--config.accumulate=2"], "TrainConfig.accumulate = 2: must be a divisor of"),
    (["--config.mesh.fsdp=3"], "mesh (data -1, fsdp 3, frame 1) does not fit 8 devices"),
    (["--config.batch_size=12"], "batch_size = 12: must be a multiple of 8"),
    (["--config.trainable=(('unet', True), ('conv_in', False), ('rest', False))"], "is covered 2 times"),
    (["--config.trainable=(('unet', True),)"], "trainable: no rule covers resampler/"),
    (["--config.sharding=(('unet', ('fsdp',)),)"], "sharding: no rule covers resampler/"),
    (
        ["--config.trainable=(('vae', True), ('rest', False))"],
        "trains unet and resampler only",
    ),
    (["--config.precision.compute=float8"], "PrecisionConfig.compute = 'float8': must be one of"),
    (["--profile", "x"], "--profile x: must be START:STEPS"),
    (["--process", "1"], "--coordinator, --processes and --process belong together"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """Status and complaint of each mistake: all are made in one process, which has eight devices."""
    folder: Path = tmp_path_factory.mktemp("mistakes")
    made = [[*flags, f"--workdir={folder}/{index}"] for index, (flags, _) in enumerate(MISTAKES)]
    said = run_several(*made, devices=8)
    assert not list(folder.iterdir())
    return said


@pytest.mark.parametrize("index", range(len(MISTAKES)), ids=[message for _, message in MISTAKES])
def test_a_mistake_is_one_line(index: int, said: list[tuple[int, str]]) -> None:
    status, errors = said[index]
    assert status == 2
    assert MISTAKES[index][1] in errors
    assert len(errors.splitlines()) == 1


def test_folder_of_another_run_is_left_alone(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the folder of a run with another config"):
        train.main([f"--config={TINY}", f"--workdir={whole}", "--config.seed=1"])
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(UserError, match="holds something else"):
        train.main([f"--config={TINY}", f"--workdir={tmp_path}"])


def test_help_is_complete_and_quick() -> None:
    start_time = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "magdiff_jax.train", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert time.perf_counter() - start_time < 5
    for flag in ("--config", "--workdir", "--profile", "--coordinator", "--processes", "--process"):
        assert flag in result.stdout
