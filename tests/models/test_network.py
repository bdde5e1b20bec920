"""Networks as functions of their parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.models import Component, ResamplerConfig, build
from magdiff_jax.models.network import Network, flatten, unflatten
from magdiff_jax.models.resampler import Resampler

CONFIG = ResamplerConfig(dim=16, depth=1, dim_head=8, heads=2, num_queries=3, embedding_dim=8, output_dim=12)
FEATURES = np.random.default_rng(0).standard_normal((2, 5, 8), np.float32)


@pytest.fixture(scope="module")
def network() -> Network:
    return build("resampler", CONFIG)


def test_flatten_and_unflatten_are_inverse() -> None:
    params = {"layers": {0: {"kernel": 1}, 1: {"kernel": 2}}, "bias": 3}
    leaves = flatten(params)
    assert leaves == [(("layers", 0, "kernel"), 1), (("layers", 1, "kernel"), 2), (("bias",), 3)]
    assert unflatten(leaves) == params


def test_fresh_parameters_follow_from_their_key_alone(network: Network) -> None:
    params = network.init(jax.random.key(1))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, network.shapes)
    other = network.init(jax.random.key(2))
    leaves = dict(flatten(params))
    some = list(leaves)[::3]
    for path, leaf in zip(some, network.init_leaves(jax.random.key(1), some), strict=True):
        np.testing.assert_array_equal(leaf, leaves[path])
    kernels = [path for path in leaves if path[-1] == "kernel"]
    assert kernels
    for path in kernels:
        assert not np.array_equal(leaves[path], dict(flatten(other))[path])


def test_parameters_are_arguments_and_not_constants(network: Network) -> None:
    params = network.init(jax.random.key(0))
    traced = jax.make_jaxpr(network.apply)(params, FEATURES)
    assert len(traced.jaxpr.invars) == len(flatten(params)) + 1
    assert sum(np.size(constant) for constant in traced.consts) == 0
    doubled = jax.tree.map(lambda leaf: 2 * leaf, params)
    assert not np.allclose(network.apply(params, FEATURES), network.apply(doubled, FEATURES))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_floats_are_cast_to_the_compute_dtype(network: Network, dtype: str) -> None:
    half = Network(Resampler, CONFIG, dtype)
    params = network.init(jax.random.key(0))
    tokens = half.apply(params, FEATURES)
    assert tokens.dtype == dtype
    np.testing.assert_allclose(tokens.astype(jnp.float32), network.apply(params, FEATURES), atol=0.05)


def test_a_component_compiles_once_for_each_shape(network: Network) -> None:
    component = Component(network, network.init(jax.random.key(0)))
    first = component(FEATURES)
    assert first.shape == (2, 3, 12)
    component.params = network.init(jax.random.key(1))
    assert not np.allclose(component(FEATURES), first)
    assert component._apply._cache_size() == 1
    component(FEATURES[:1])
    assert component._apply._cache_size() == 2
