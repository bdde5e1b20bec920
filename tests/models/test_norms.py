"""Group normalisation against its plain formula, differentiated automatically in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.models.norms import group_norm

EPSILON = 1e-5
CHANNELS = 12
# Largest error over largest value.
TOLERANCES = {"float32": 2e-6, "bfloat16": 2e-2}


def plain(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, silu: bool) -> jax.Array:
    grouped = x.reshape(len(x), -1, groups, CHANNELS // groups)
    mean, variance = (f(axis=(1, 3), keepdims=True) for f in (grouped.mean, grouped.var))
    result = ((grouped - mean) / jnp.sqrt(variance + EPSILON)).reshape(x.shape) * scale + bias
    return result / (1 + jnp.exp(-result)) if silu else result


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 2, 3, 4), (2,)], ids=["clips", "images", "vectors"])
def test_value_and_gradients(shape: tuple[int, ...], groups: int, silu: bool, dtype: str) -> None:
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((*shape, CHANNELS)), 1 + random.standard_normal(CHANNELS) / 10]
    arrays += [random.standard_normal(CHANNELS), random.standard_normal((*shape, CHANNELS))]
    *inputs, weights = (jnp.asarray(array, dtype) for array in arrays)

    @jax.jit
    def ours(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        result, pull_back = jax.vjp(lambda *inputs: group_norm(*inputs, groups, EPSILON, silu), *inputs)
        return result, *pull_back(weights)

    found = ours(*inputs)
    with jax.enable_x64(True):
        rounded = [jnp.asarray(np.asarray(array, np.float64)) for array in (*inputs, weights)]
        result, pull_back = jax.vjp(lambda *inputs: plain(*inputs, groups, silu), *rounded[:3])
        expected = [np.asarray(array) for array in (result, *pull_back(rounded[3]))]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert np.abs(np.asarray(one, np.float64) - other).max() < TOLERANCES[dtype] * np.abs(other).max()
