"""One run on one device, and the same run moved from topology to topology: the same losses."""

from pathlib import Path

import pytest

from tests.training.commands import finish, free_address, losses, of_two, start


def on_mesh(data: int, fsdp: int, frame: int) -> list[str]:
    return [f"--config.mesh.data={data}", f"--config.mesh.fsdp={fsdp}", f"--config.mesh.frame={frame}"]


def go_on(workdir: Path, until: int, where: str) -> None:
    """Start the run again on a topology, to go on to a step."""
    flags = ["--config.log_every=1", "--config.validation.every=100", "--config.optimizer.warmup_steps=0"]
    flags.append(f"--config.steps={until}")
    if where == "alone":
        finish(start(workdir, *flags))
    elif where == "two processes":
        address = free_address()
        flags += on_mesh(1, 8, 1)
        finish(*[start(workdir, *flags, *of_two(process, address), devices=4) for process in (0, 1)])
    else:
        meshes = {"data": (8, 1, 1), "fsdp": (1, 8, 1), "mixed": (2, 2, 2)}
        finish(start(workdir, *flags, *on_mesh(*meshes[where]), devices=8))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten steps on one device, with a validation where the moving run has one."""
    workdir: Path = tmp_path_factory.mktemp("alone") / "run"
    go_on(workdir, 10, "alone")
    return workdir


def test_a_run_moves_between_topologies(alone: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    # Two processes make the start, the data goes from them to one and back.
    moves = (("two processes", 2), ("alone", 3), ("data", 4), ("two processes", 6), ("fsdp", 8), ("mixed", 10))
    for where, until in moves:
        go_on(workdir, until, where)
    expected, found = losses(alone), losses(workdir)
    steps = {(step, name) for step in range(1, 11) for name in ("loss", "gradient_norm")}
    assert steps | {(10, "validation/loss")} <= found.keys()
    assert expected.keys() <= found.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5), key
