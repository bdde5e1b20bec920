"""The U-Net's switches, sizes and ways to compute."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.config import Config
from magdiff_jax.models import UNetConfig, build
from magdiff_jax.models.network import Network, Params, flatten, unflatten
from magdiff_jax.models.temporal import TemporalConvs, dropout
from magdiff_jax.models.unet import UNet
from tests.conftest import random_component

CONFIG = UNetConfig(
    block_out_channels=(8, 8),
    down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
    up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    layers_per_block=1,
    num_attention_heads=(1, 1),
    cross_attention_dim=8,
    norm_num_groups=4,
    hfa_levels=(24, 16),
)
TIMESTEPS = (10, 900)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


TEXT, IMAGE = drawn(0, 2, 5, 8), drawn(1, 2, 6, 8)
SAMPLE = drawn(2, 2, 2, 5, 7, 4)
SUBJECT = (drawn(3, 2, 2, 8, 10, 4), drawn(4, 2, 2, 5, 7, 4))


@pytest.fixture(scope="module")
def params() -> Params:
    return random_component("unet", CONFIG).params


@pytest.fixture(scope="module")
def network() -> Network:
    return build("unet", CONFIG)


def replaced(params: Params, part: str, value: float) -> Params:
    """With another value in all parameters that have `part` in their path."""
    leaves = flatten(params)
    assert any(part in path for path, _ in leaves)
    return unflatten((path, np.full_like(leaf, value) if part in path else leaf) for path, leaf in leaves)


def predictor(network: Network, **options: Any) -> Any:
    def predict(params: Params, sample: Any, subject: Any) -> Any:
        condition = network.apply(params, TEXT, IMAGE, subject, method="condition")
        return network.apply(params, sample, jnp.array(TIMESTEPS), condition, **options)

    # These networks are run a few times only, so that compiling is what takes the time.
    compiled = jax.jit(predict, compiler_options={"xla_backend_optimization_level": 0})
    return lambda params, sample=SAMPLE, subject=SUBJECT: compiled(params, sample, subject)


@pytest.fixture(scope="module")
def predict(network: Network) -> Any:
    return predictor(network)


def test_an_odd_size_keeps_its_size(predict: Any, params: Params) -> None:
    prediction = predict(params)
    assert prediction.shape == SAMPLE.shape
    assert prediction.dtype == jnp.float32
    assert jnp.isfinite(prediction).all()


def test_clips_of_a_batch_do_not_see_each_other(predict: Any, params: Params) -> None:
    changed = SAMPLE.copy()
    changed[1] += 1
    before, after = predict(params), predict(params, sample=changed)
    np.testing.assert_allclose(after[0], before[0], atol=1e-6)
    assert jnp.abs(after[1] - before[1]).max() > 1e-3


def test_frames_see_each_other(predict: Any, params: Params) -> None:
    changed = SAMPLE.copy()
    changed[:, 1] += drawn(5, *SAMPLE[:, 1].shape)
    assert jnp.abs(predict(params, sample=changed) - predict(params))[:, 0].max() > 1e-3


def test_a_pyramid_starts_as_the_one_level_model(predict: Any, params: Params) -> None:
    silent = replaced(params, "hfa_projections", 0.0)
    one_level = build("unet", dataclasses.replace(CONFIG, hfa_levels=(16,)))
    kept = unflatten((path, leaf) for path, leaf in flatten(params) if path[0] != "hfa_projections")
    expected = predictor(one_level)(kept, subject=SUBJECT[-1:])
    np.testing.assert_allclose(predict(silent), expected, atol=1e-5)
    # The largest level has no say until its projection is no longer zero.
    other = (SUBJECT[0] + 1, SUBJECT[1])
    np.testing.assert_array_equal(predict(silent, subject=other), predict(silent))
    assert jnp.abs(predict(params) - predict(silent)).max() > 1e-3
    assert jnp.abs(predict(params, subject=other) - predict(params)).max() > 1e-3


def test_hfa_projections_are_initialised_with_zeros(network: Network) -> None:
    paths = [path for path, _ in flatten(network.shapes) if path[0] == "hfa_projections"]
    assert len(paths) == 2
    assert not any(leaf.any() for leaf in network.init_leaves(jax.random.key(0), paths))


@pytest.mark.quick
def test_image_tokens_act_through_apa_only(network: Network, params: Params) -> None:
    plain = build("unet", dataclasses.replace(CONFIG, apa=False))
    names = {path[-2] for path, _ in flatten(plain.shapes)} | {path[-1] for path, _ in flatten(plain.shapes)}
    assert not names & {"to_k_ip", "to_v_ip", "text_cross_attention_scale", "image_cross_attention_scale"}
    kept = unflatten((path, dict(flatten(params))[path]) for path, _ in flatten(plain.shapes))
    with_image, without = (plain.apply(kept, TEXT, image, SUBJECT, method="condition") for image in (IMAGE, None))
    for one, other in zip(jax.tree.leaves(with_image), jax.tree.leaves(without), strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = (network.apply(params, TEXT, image, SUBJECT, method="condition") for image in (IMAGE, 2 * IMAGE))
    (text, image), (same_text, other_image) = one.keys_values[0], other.keys_values[0]
    np.testing.assert_array_equal(text[0], same_text[0])
    np.testing.assert_allclose(2 * image[0], other_image[0], rtol=1e-5)


def test_one_frame_skips_the_temporal_layers(predict: Any, params: Params) -> None:
    sample, subject = SAMPLE[:, :1], tuple(level[:, :1] for level in SUBJECT)
    for part in ("temp_convs", "temp_attn", "temp_norm"):
        other = replaced(params, part, 0.5)
        np.testing.assert_array_equal(predict(other, sample, subject), predict(params, sample, subject))
        assert jnp.abs(predict(other) - predict(params)).max() > 1e-3


def test_recomputing_changes_nothing(network: Network, predict: Any, params: Params) -> None:
    np.testing.assert_allclose(predictor(network, remat=True)(params), predict(params), atol=1e-5)


def test_dropout_needs_keys_and_follows_from_them() -> None:
    layer = Network(lambda _, rngs: TemporalConvs(8, 2, 4, rngs=rngs), Config())
    params = jax.tree.map(lambda leaf: drawn(6, *leaf.shape), layer.shapes)
    x = SUBJECT[0].repeat(2, -1)

    def run(first_seed: int) -> jax.Array:
        return layer.apply(params, x, jax.random.split(jax.random.key(first_seed), len(x)))

    np.testing.assert_array_equal(run(0), run(0))
    assert jnp.abs(run(0) - run(1)).max() > 1e-3
    assert jnp.abs(run(0) - layer.apply(params, x)).max() > 1e-3


def test_a_clip_loses_the_same_in_any_batch() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    x = jnp.asarray(drawn(7, 4, 8, 16, 16, 8))
    whole = dropout(x, keys)
    np.testing.assert_array_equal(whole[2:3], dropout(x[2:3], keys[2:3]))
    assert abs(float((whole == 0).mean()) - 0.1) < 0.005
    np.testing.assert_allclose(whole[whole != 0], (x / 0.9)[whole != 0], rtol=1e-6)


def test_every_temporal_layer_drops_out_on_its_own(network: Network) -> None:
    def draws(**options: Any) -> int:
        condition = jax.eval_shape(
            lambda params: network.apply(params, TEXT, IMAGE, SUBJECT, method="condition"), network.shapes
        )
        traced = jax.make_jaxpr(lambda *args: network.apply(*args, **options))(
            network.shapes, SAMPLE, jnp.array(TIMESTEPS), condition
        )
        return str(traced).count("random_fold_in")

    # Two levels down, the middle's two and two levels of two up: keys for each, and for each of its four layers.
    assert draws(dropout_keys=jax.random.split(jax.random.key(0), len(SAMPLE))) == 8 + 8 * 4
    assert draws() == 0


def test_half_precision_is_close(predict: Any, params: Params) -> None:
    half = predictor(Network(UNet, CONFIG, "bfloat16"))(params)
    full = predict(params)
    assert half.dtype == jnp.bfloat16
    error = jnp.abs(half.astype(jnp.float32) - full).mean() / jnp.abs(full).mean()
    assert 1e-5 < error < 0.05
