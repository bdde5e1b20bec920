"""What a device can do at most, and how much of its memory a run takes."""

import re
import resource
import sys

import jax

# Dense products of 16-bit numbers, FLOP/s of one JAX device as its maker states them; the first pattern that a device's
# kind begins with holds. TPUs' kinds are those in `jax.experimental.pallas.tpu`'s table.
_PEAKS = (
    (r"Tesla V100|NVIDIA V100", 125e12),
    (r"NVIDIA A100", 312e12),
    (r"NVIDIA H100 PCIe", 756e12),
    (r"NVIDIA H100 NVL", 835e12),
    (r"NVIDIA H100", 989e12),
    (r"NVIDIA (H200|GH200)", 989e12),
    (r"TPU v4$", 275e12),
    (r"TPU v5( lite|e)", 197e12),
    (r"TPU v5p?$", 459e12),
    (r"TPU v6( lite|e)", 918e12),
)


def peak_flops(kind: str, dtype: str) -> float | None:
    """A device's most FLOP/s in matrix products, or None where it is not known.

    Args:
        kind: `jax.Device.device_kind`.
        dtype: of the computation; peaks are those of 16 bits.
    """
    known = (peak for pattern, peak in _PEAKS if re.match(pattern, kind))
    return next(known, None) if dtype in ("bfloat16", "float16") else None


def peak_memory() -> int:
    """The most bytes in use so far on any of this process's devices; on a CPU, by the process."""
    statistics = [device.memory_stats() for device in jax.local_devices()]
    on_devices = [each["peak_bytes_in_use"] for each in statistics if each and "peak_bytes_in_use" in each]
    if on_devices:
        return max(on_devices)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
