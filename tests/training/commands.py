"""The command as its users run it: in a process of its own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).with_name("tiny.py")


def start(workdir: Path, *flags: str, devices: int = 1) -> subprocess.Popen:
    """`train` on so many virtual devices."""
    command = [sys.executable, "-m", "magdiff_jax.train", "--config", str(TINY), "--workdir", str(workdir), *flags]
    return run(*command, devices=devices)


def run(*command: str, devices: int = 1) -> subprocess.Popen:
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def run_several(*runs: list[str], devices: int) -> list[tuple[int, str]]:
    """Status and standard error of each of several runs in one process, which comes ready sooner than one for each."""
    process = run(sys.executable, "tests/training/several.py", json.dumps(runs), devices=devices)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    said: list[tuple[int, str]] = json.loads(output)
    return said


def of_two(process: int, address: str) -> list[str]:
    """Flags of one of two processes."""
    return ["--coordinator", address, "--processes", "2", "--process", str(process)]


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def finish(*processes: subprocess.Popen, status: int = 0) -> list[str]:
    """Wait for processes; what each wrote to stderr."""
    results = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == status, errors
    return [errors for _, errors in results]


def overwrite_64_bytes(folder: Path) -> None:
    """In eight places of a checkpoint's largest file of arrays, which also holds what was written and then replaced.

    What Orbax notes beside them can be larger, and is not read.
    """
    path = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    with path.open("r+b") as file:
        for place in range(1, 9):
            file.seek(path.stat().st_size * place // 9)
            file.write(np.random.default_rng(place).bytes(64))


def entries(workdir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def losses(workdir: Path) -> dict[tuple[int, str], float]:
    """Training and validation losses and gradient norms, by step and name."""
    names = ("loss", "gradient_norm", "validation/loss")
    return {(entry["step"], name): entry[name] for entry in entries(workdir) for name in names if name in entry}


def model(folder: Path) -> dict[str, np.ndarray]:
    """All parameters of a MagDiff folder."""
    from magdiff_jax.models import COMPONENTS, build
    from magdiff_jax.sharding.leaves import to_leaves
    from magdiff_jax.weights import directory

    description = directory.read_description(folder)
    leaves: dict[str, np.ndarray] = {}
    for name in COMPONENTS:
        network = build(name, description.networks[name])
        params = directory.read_component(folder, name, network.shapes, description.fingerprints[name])
        leaves |= to_leaves(name, params)
    return leaves
