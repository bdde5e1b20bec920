import json
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.training.checksums import checksums

# An array on eight devices, spread over them in many ways.
SHARDED = """
import json, jax, numpy as np
from magdiff_jax.training.checksums import checksums

mesh = jax.make_mesh((4, 2), ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
array = np.random.default_rng(0).standard_normal((8, 16, 6), np.float32)
placed = {"on one": jax.device_put(array, jax.devices()[3])}
for spec in [(), ("data",), (None, "tensor"), ("tensor", "data"), (("data", "tensor"),)]:
    placed[str(spec)] = jax.device_put(array, jax.NamedSharding(mesh, jax.P(*spec)))
placed["bfloat16"] = placed["('data',)"].astype("bfloat16")
print(json.dumps(checksums(placed)))
"""


def checksum(array: Any) -> str:
    return checksums({"array": jnp.asarray(array)})["array"]


def by_definition(array: np.ndarray) -> str:
    """The same in Python's integers."""

    def mix(x: int) -> int:
        x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
        x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
        return x ^ x >> 16

    bits = [int(x) for x in np.ravel(array).view(f"uint{8 * array.dtype.itemsize}")]
    parts = (sum(mix(x ^ (i * m % 2**32)) for i, x in enumerate(bits, 1)) for m in (0x9E3779B1, 0x85EBCA77))
    return "".join(f"{part % 2**32:08x}" for part in parts)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "uint32", "int8", "bool"])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5, 4)])
def test_the_sums_are_those_of_the_definition(shape: tuple[int, ...], dtype: str) -> None:
    array = np.asarray(np.random.default_rng(0).integers(-100, 100, shape) / 3).astype(jnp.dtype(dtype))
    assert checksum(array) == by_definition(array)


def test_keys_count_as_their_data() -> None:
    keys = jax.random.split(jax.random.key(3), 4)
    assert checksum(keys) == by_definition(np.asarray(jax.random.key_data(keys)))


def test_any_sharding_gives_the_same() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", SHARDED], env=flags, capture_output=True, text=True, check=True)
    sums = json.loads(run.stdout)
    array = np.random.default_rng(0).standard_normal((8, 16, 6), np.float32)
    assert sums.pop("bfloat16") == checksum(array.astype("bfloat16"))
    assert len(sums) == 6
    assert set(sums.values()) == {checksum(array)}


def test_every_bit_and_place_counts() -> None:
    array = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    changed = [array.copy() for _ in range(2 + 4 * 6 * 32)]
    changed[0][[1, 2]] = array[[2, 1]]  # two rows
    changed[1][0, :2] = array[0, 1::-1]  # two elements
    for place, other in enumerate(changed[2:]):
        other.view(np.uint32).reshape(-1)[place // 32] ^= np.uint32(1 << place % 32)
    assert len({checksum(other) for other in [array, *changed]}) == 1 + len(changed)


def test_both_zeros_and_all_nans_are_told_apart() -> None:
    nans = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000], np.uint32).view(np.float32)
    assert len({checksum(np.float32(value)) for value in (0.0, -0.0, *nans)}) == 5


def test_each_array_has_its_own_name() -> None:
    a, b = jnp.arange(3.0), jnp.arange(4)
    assert checksums({"a": a, "b": b}) == {"a": checksum(a), "b": checksum(b)}
    assert checksums({}) == {}
