"""The same losses on one device, on eight however they are shared out, and in two processes of four."""

import socket
from pathlib import Path

import pytest

from tests.training.commands import finish, losses, start

MESHES = {
    "data": {"data": 8, "fsdp": 1, "frame": 1},
    "fsdp": {"data": 1, "fsdp": 8, "frame": 1},
    "mixed": {"data": 2, "fsdp": 2, "frame": 2},
}


def flags(mesh: str) -> list[str]:
    return [f"--config.mesh.{axis}={size}" for axis, size in MESHES[mesh].items()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on one device."""
    workdir: Path = tmp_path_factory.mktemp("alone") / "run"
    finish(start(workdir))
    return workdir


def assert_same(one: Path, other: Path) -> None:
    expected = losses(one)
    assert {name for _, name in expected} == {"loss", "gradient_norm", "validation/loss"}
    assert losses(other) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mesh", MESHES)
def test_eight_devices(mesh: str, alone: Path, tmp_path: Path) -> None:
    finish(start(tmp_path / "run", *flags(mesh), devices=8))
    assert_same(alone, tmp_path / "run")


def test_from_eight_devices_to_one_and_back(alone: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    finish(start(workdir, *flags("fsdp"), "--config.steps=3", devices=8))
    finish(start(workdir, "--config.steps=4"))
    finish(start(workdir, *flags("fsdp"), devices=8))
    expected = {key: value for key, value in losses(alone).items() if key in losses(workdir)}
    assert {key: losses(workdir)[key] for key in expected} == pytest.approx(expected, rel=1e-5)
    assert (6, "validation/loss") in expected


def test_two_processes_of_four_devices_and_then_one_alone(alone: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    workdir = tmp_path / "run"
    together = ["--coordinator", address, "--processes", "2", *flags("fsdp"), "--config.steps=3"]
    finish(*[start(workdir, *together, "--process", str(process), devices=4) for process in (0, 1)])
    finish(start(workdir))
    expected = losses(alone)
    assert losses(workdir) == pytest.approx({key: expected[key] for key in losses(workdir)}, rel=1e-5)
    assert (6, "validation/loss") in losses(workdir)
