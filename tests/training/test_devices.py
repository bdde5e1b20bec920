import jax
import numpy as np
import psutil
import pytest

from magdiff_jax.training.devices import peak_flops, peak_memory


@pytest.mark.parametrize(
    ("kind", "tera"),
    [
        ("Tesla V100-SXM2-16GB", 125),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("TPU v4", 275),
        ("TPU v5 lite", 197),
        ("TPU v5e", 197),
        ("TPU v5", 459),
        ("TPU v5p", 459),
        ("TPU v6 lite", 918),
        ("TPU v4 lite", None),
        ("cpu", None),
    ],
)
def test_peaks_by_device_kind(kind, tera):
    assert peak_flops(kind, "bfloat16") == (tera and tera * 1e12)
    assert peak_flops(kind, "float32") is None


def test_memory_of_a_cpu_is_the_process():
    assert jax.default_backend() == "cpu"
    block = np.ones(2**25)
    now = psutil.Process().memory_info().rss
    assert peak_memory() > block.nbytes
    assert 0.98 * now < peak_memory() < psutil.virtual_memory().total, "the kernel counts in whole batches of pages"
