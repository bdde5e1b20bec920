"""tools/convert_torch_weights.py as its users run it."""

import hashlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magdiff_jax.weights import directory
from magdiff_jax.weights.sources import Sources

TOOL = Path(__file__).parents[2] / "tools" / "convert_torch_weights.py"
FLAGS = (
    *("--out", "--overwrite", "--base", "--checkpoint", "--vae", "--vision", "--dtype", "--hfa-levels", "--without"),
    *("--bgr", "--seed", "--to-torch", "--format"),
)


def tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what was wrong."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (line,) = (line for line in result.stderr.splitlines() if "error:" in line)
    return line


def test_help_is_complete_and_quick() -> None:
    start = time.monotonic()
    result = tool("--help")
    assert time.monotonic() - start < 5
    assert result.returncode == 0
    for flag in FLAGS:
        assert re.search(rf"^  {flag}\b.*\n?\s+\S", result.stdout, re.MULTILINE), flag
    assert set(re.findall(r"^  (--[a-z-]+)", result.stdout, re.MULTILINE)) == set(FLAGS)


def test_convert_overwrite_and_back(sources: Sources, model: Path, tmp_path: Path) -> None:
    """The result does not depend on the process: fingerprints are those of the model converted here."""
    forth = ["--base", sources.base, "--checkpoint", sources.checkpoints[0], "--hfa-levels", "64", "--out"]
    result = tool(*forth, tmp_path / "model")
    assert result.returncode == 0, result.stderr
    *sums, last = result.stdout.splitlines()
    assert last == str(tmp_path / "model")
    names = ("unet/config.json", "vae/config.json", "resampler/config.json", "scheduler/scheduler_config.json")
    read = [*sources.base.rglob("*.safetensors"), *sources.base.glob("tokenizer/*"), *sources.checkpoints]
    read += [sources.base / name for name in (*names, "text_encoder/config.json")]
    assert sorted(sums) == sorted(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}" for path in read)
    assert (tmp_path / "model" / directory.MARK).read_text() == (model / directory.MARK).read_text()
    assert f"error: {tmp_path / 'model'} exists: choose another --out or add --overwrite" == error_of(
        tool(*forth, tmp_path / "model")
    )
    (tmp_path / "model" / "unet" / "config.json").unlink()
    assert "config.json: no such file" in error_of(tool("--to-torch", tmp_path / "model", "--out", tmp_path / "back"))
    assert not (tmp_path / "back").exists()


def test_a_folder_of_somebody_else_is_never_replaced(sources: Sources, tmp_path: Path) -> None:
    shutil.copytree(sources.base, tmp_path / "sd")
    before = sorted(tmp_path.rglob("*"))
    line = error_of(tool("--base", tmp_path / "sd", "--out", tmp_path / "sd", "--overwrite"))
    assert "holds something else" in line
    assert sorted(tmp_path.rglob("*")) == before


def test_one_line_for_a_damaged_file(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "MagDiff.safetensors").write_bytes(sources.checkpoints[0].read_bytes()[:5000])
    line = error_of(
        tool("--base", sources.base, "--checkpoint", tmp_path / "MagDiff.safetensors", "--out", tmp_path / "model")
    )
    assert line.startswith(f"error: {tmp_path / 'MagDiff.safetensors'}: damaged")
    assert [path.name for path in tmp_path.iterdir()] == ["MagDiff.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--out", "x"], "give either --base, to convert from PyTorch, or --to-torch"),
        (["--out", "x", "--base", "a", "--to-torch", "b"], "give either --base"),
        (["--base", "a"], "required: --out"),
        (["--out", "absent/x", "--base", "a"], "error: absent is not a folder: create it or choose another --out"),
        (["--out", "x", "--base", "a", "--hfa-levels", "256,384"], "give different sizes, the largest first"),
        (["--out", "x", "--base", "a", "--hfa-levels", "big"], "--hfa-levels"),
        (["--out", "x", "--base", "a", "--dtype", "int8"], "invalid choice: 'int8'"),
        (
            ["--out", "x", "--base", "a", "--without", "hfa", "--hfa-levels", "256"],
            "--hfa-levels is for HFA: leave it out, or --without hfa",
        ),
    ],
)
def test_impossible_flags(arguments: list[str], complaint: str) -> None:
    assert complaint in error_of(tool(*arguments))
