"""Converting takes the memory of the result and little more."""

import subprocess
import sys
from pathlib import Path

import pytest

from magdiff_jax.models import ClipTextConfig
from tests.weights.checkpoints import tensors, write

MEBI = 2**20
# Six layers of Stable Diffusion 2.1's text encoder: 300 MB, of which the largest tensor has 16 MB.
CONFIG = ClipTextConfig(vocab_size=1000, num_hidden_layers=6)
SLACK = 150 * MEBI
MEASURE = """
import re, sys
from pathlib import Path
import orbax.checkpoint
from magdiff_jax.models import ClipTextConfig, build
import torch
from magdiff_jax.weights import directory, export, files
from magdiff_jax.weights.convert import to_params

def memory(kind):
    return int(re.search(rf"{kind}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def report(call):
    Path("/proc/self/clear_refs").write_text("5")  # lets the peak count from here
    before = memory("VmRSS")
    result = call()
    print(memory("VmHWM") - before, flush=True)
    return result

def convert():
    params = to_params(network, [files.read_file(source)], "text_encoder")
    return directory.write_component(folder, "text_encoder", config, params)

def convert_back():
    export._write(source.with_name("back.bin"), export._tensors(folder, "text_encoder", description))

source, folder = Path(sys.argv[1]), Path(sys.argv[1]).parent
config = ClipTextConfig(vocab_size=1000, num_hidden_layers=6)
network = build("text_encoder", config)
fingerprint = report(convert)
networks, fingerprints = {"text_encoder": config}, {"text_encoder": fingerprint}
description = directory.Description(directory.ModelConfig(), None, networks, fingerprints)
report(convert_back)
"""


def peaks(checkpoint: Path) -> list[int]:
    """Bytes by which a process grows while it converts, and converts back, pages of mapped files included."""
    command = [sys.executable, "-c", MEASURE, str(checkpoint)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr
    return [int(line) for line in result.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures with Linux's /proc")
def test_peak_memory(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    arrays = tensors("text_encoder", CONFIG)
    size, largest = (measure(array.nbytes for array in arrays.values()) for measure in (sum, max))
    assert size > 280 * MEBI
    checkpoint = write(tmp_path / "weights.pth", arrays)
    grown = peaks(checkpoint)
    forth, back = grown
    assert forth < size + largest + SLACK
    # Reading is TensorStore's, whose threads do not return all of their memory; a second copy would be over this.
    assert back < 2 * size + largest
    assert min(grown) > size  # the measure measures
    assert (tmp_path / "back.bin").stat().st_size == pytest.approx(checkpoint.stat().st_size, rel=0.01)
