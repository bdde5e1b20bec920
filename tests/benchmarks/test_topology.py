"""The tiny run's programs compiled for eight virtual devices, and, where TPUs' compiler is, for a slice of TPUs."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FLAGS

ROOT = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
    values = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, *command], env=values, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    flags = f"{FLAGS} --xla_force_host_platform_device_count=8"
    done = run("tests/benchmarks/on_cpus.py", XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    cells: dict[str, Any] = json.loads(done.stdout)
    return cells


def test_training_step(reports: dict[str, Any]) -> None:
    report = reports["training"]
    whole = 4 * report["parameters"]["trainable"]
    memory = report["memory"]
    # Of the eight parts of all large parameters each device holds one; small ones lie on each.
    assert whole / 8 <= memory["trainable parameters"] < whole / 5
    # Adam's two moments and the average.
    assert memory["optimizer"] == pytest.approx(3 * memory["trainable parameters"], abs=16)
    received = {each["kind"]: each["received"] for each in report["exchanges"]}
    assert 0.8 * whole * 7 / 8 < received["all-gather"] < 2 * whole
    assert 0.8 * whole * 7 / 8 < received["all-reduce"] < 3 * whole
    assert report["work"]["received"] == sum(received.values())
    assert report["work"]["flops"] == report["work"]["useful"] > 3 * reports["encoders"]["work"]["flops"]
    assert "16: fits" in report["text"]


def test_sampling_gathers_the_parameters_once(reports: dict[str, Any]) -> None:
    report = reports["sampling"]
    (exchange,) = report["exchanges"]
    assert exchange["kind"] == "all-gather"
    assert exchange["received"] <= 4 * report["parameters"]["U-Net"] * 7 / 8
    assert report["clips"] == 8
    assert report["work"]["traffic"] > 4 * report["parameters"]["U-Net"]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--topology", "v9:4x4"],
            "error: --topology v9:4x4: must be CHIP:AxB or CHIP:AxBxC, CHIP one of v5e, v5p, v6e",
        ),
        (["--topology", "v5e:4x4", "--sampling", "--encoders"], "error: argument --encoders: not allowed with"),
    ],
)
def test_mistakes(flags: list[str], line: str) -> None:
    done = run("-m", "benchmarks.topology", "--config", "configs/small.py", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)


@pytest.mark.skipif(not find_spec("libtpu"), reason="TPUs' compiler is not installed")
def test_a_slice_of_tpus(tmp_path: Path) -> None:
    config = ["--config", "tests/training/tiny.py", "--config.mesh.data=1", "--config.mesh.fsdp=-1"]
    out = tmp_path / "report.json"
    done = run("-m", "benchmarks.topology", "--topology", "v5e:2x4", *config, "--sampling", "--json", str(out))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["devices"] == 8
    assert {each["kind"] for each in report["exchanges"]} == {"all-gather"}
    assert sum(report["memory"].values()) < 1e9
    assert "of 16: fits" in done.stdout
