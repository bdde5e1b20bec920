"""The norms against their plain formulas, differentiated automatically in float64."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.models.norms import group_norm, layer_norm

Function = Callable[..., jax.Array]

EPSILON = 1e-5
CHANNELS = 12
# Largest error over largest value.
TOLERANCES = {"float32": 2e-6, "bfloat16": 2e-2}


def plain_group_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, silu: bool) -> jax.Array:
    grouped = x.reshape(len(x), -1, groups, CHANNELS // groups)
    mean, variance = (f(axis=(1, 3), keepdims=True) for f in (grouped.mean, grouped.var))
    result = ((grouped - mean) / jnp.sqrt(variance + EPSILON)).reshape(x.shape) * scale + bias
    return result / (1 + jnp.exp(-result)) if silu else result


def plain_layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    mean, variance = (f(axis=-1, keepdims=True) for f in (x.mean, x.var))
    return (x - mean) / jnp.sqrt(variance + EPSILON) * scale + bias


def check(ours: Function, plain: Function, shape: tuple[int, ...], dtype: str) -> None:
    """The value and the gradients of x of this shape, scale and bias."""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((*shape, CHANNELS)), 1 + random.standard_normal(CHANNELS) / 10]
    arrays += [random.standard_normal(CHANNELS), random.standard_normal((*shape, CHANNELS))]
    *inputs, weights = (jnp.asarray(array, dtype) for array in arrays)

    def all_of(function: Function, weights: jax.Array, *inputs: jax.Array) -> list[jax.Array]:
        result, pull_back = jax.vjp(function, *inputs)
        return [result, *pull_back(weights)]

    found = jax.jit(all_of, static_argnums=0)(ours, weights, *inputs)
    with jax.enable_x64(True):
        rounded = [jnp.asarray(np.asarray(array, np.float64)) for array in (weights, *inputs)]
        expected = [np.asarray(array) for array in all_of(plain, *rounded)]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert np.abs(np.asarray(one, np.float64) - other).max() < TOLERANCES[dtype] * np.abs(other).max()


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 2, 3, 4), (2,)], ids=["clips", "images", "vectors"])
def test_group_norm(shape: tuple[int, ...], groups: int, silu: bool, dtype: str) -> None:
    check(
        lambda *inputs: group_norm(*inputs, groups, EPSILON, silu),
        lambda *inputs: plain_group_norm(*inputs, groups, silu),
        shape,
        dtype,
    )


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [(2, 3, 4), (7,), ()], ids=["clips", "tokens", "vector"])
def test_layer_norm(shape: tuple[int, ...], dtype: str) -> None:
    check(layer_norm, plain_layer_norm, shape, dtype)
