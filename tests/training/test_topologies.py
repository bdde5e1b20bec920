"""One run on one device, and the same run moved from topology to topology: the same losses."""

from pathlib import Path

import pytest

from tests.training.commands import finish, free_address, losses, of_two, run_several, start

# Some of each kind of layer: each trainable parameter makes the program to compile longer.
TRAINABLE = r"^unet/.*(temp_convs/0/norms|transformer_blocks/)|^unet/hfa_projections/|^resampler/(latents|proj)"


def until(step: int, workdir: Path, data: int, fsdp: int, frame: int) -> list[str]:
    """Flags of a run that goes on to a step, on a mesh."""
    flags = ["--config.log_every=1", "--config.checkpoints.every=100", "--config.optimizer.warmup_steps=0"]
    # Validation is of the whole way, at its end.
    flags.append("--config.validation.every=100" if step == 10 else "--config.validation.sources=()")
    flags.append(f"--config.trainable=(({TRAINABLE!r}, True), ('rest', False))")
    mesh = [f"--config.mesh.{name}={size}" for name, size in (("data", data), ("fsdp", fsdp), ("frame", frame))]
    return [f"--workdir={workdir}", f"--config.steps={step}", *flags, *mesh]


def on_two_processes(step: int, workdir: Path) -> None:
    address = free_address()
    flags = until(step, workdir, 1, 8, 1)
    finish(*[start(workdir, *flags, *of_two(process, address), devices=4) for process in (0, 1)])


def on_one_process(*runs: list[str], devices: int) -> None:
    said = run_several(*runs, devices=devices)
    assert [status for status, _ in said] == [0] * len(runs), said


def test_a_run_moves_between_topologies(tmp_path: Path) -> None:
    alone, moved = tmp_path / "alone", tmp_path / "moved"
    # Two processes make the start, the data goes from them to one and back, and from mesh to mesh.
    on_two_processes(2, moved)
    on_one_process(until(10, alone, 1, 1, 1), until(3, moved, 1, 1, 1), devices=1)
    on_two_processes(4, moved)
    on_one_process(until(6, moved, 8, 1, 1), until(8, moved, 1, 8, 1), until(10, moved, 2, 2, 2), devices=8)
    expected, found = losses(alone), losses(moved)
    steps = {(step, name) for step in range(1, 11) for name in ("loss", "gradient_norm")}
    assert steps | {(10, "validation/loss")} <= found.keys()
    assert expected.keys() <= found.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5), key
