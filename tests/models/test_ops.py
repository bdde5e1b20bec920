"""Each operation, in the form this machine takes and in the general one, against NumPy in float64."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax import runtime
from magdiff_jax.config import Config
from magdiff_jax.models import ops
from magdiff_jax.models.layers import Conv2d, GroupNorm, LayerNorm
from magdiff_jax.models.network import Network

# Largest error over largest value.
TOLERANCES = {"float32": 3e-6, "bfloat16": 2e-2, "float16": 2e-3}


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def error(ours: jax.Array, expected: np.ndarray) -> float:
    assert ours.shape == expected.shape
    return float(np.abs(np.asarray(ours, np.float64) - expected).max() / np.abs(expected).max())


def plain_attention(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    scores = np.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), value)


def plain_conv2d(x: np.ndarray, kernel: np.ndarray, stride: int, padding: ops.Padding) -> np.ndarray:
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", windows[:, ::stride, ::stride], kernel)


def plain_conv_over_frames(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    return sum(padded[:, i : i + x.shape[1]] @ kernel[i] for i in range(3))


ATTENTIONS = {
    "self": ((3, 16, 2, 8), (3, 16, 2, 8)),
    "cross": ((2, 40, 3, 8), (2, 7, 3, 8)),
    "large": ((2, ops.LARGE_SCORES // 512, 4, 8), (2, 128, 4, 8)),
    "large, single": ((1, ops.LARGE_SCORES // 512, 4, 8), (1, 128, 4, 8)),
}
CONVOLUTIONS = {
    "larger than the kernel": ((2, 6, 5, 4), 3, 1, (1, 1)),
    "as large": ((2, 3, 3, 4), 3, 1, (1, 1)),
    "smaller": ((2, 2, 4, 4), 3, 1, (1, 1)),
    "one pixel": ((2, 1, 1, 4), 3, 1, (1, 1)),
    "smaller, stride 2": ((2, 2, 2, 4), 3, 2, (1, 1)),
    "smaller, odd, stride 2": ((2, 1, 3, 4), 3, 2, (1, 1)),
    "smaller, padded on one side": ((2, 2, 2, 4), 3, 2, (0, 1)),
    "patches": ((2, 8, 8, 3), 4, 4, (0, 0)),
}


@pytest.mark.quick
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shapes", ATTENTIONS.values(), ids=ATTENTIONS)
def test_attention(shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: str) -> None:
    queries, keys = shapes
    # Scores of up to about 50: exp overflows where the largest is not taken off first.
    arrays = [4 * normal(0, *queries), 4 * normal(1, *keys), normal(2, *keys)]
    inputs = [jnp.asarray(array, dtype) for array in arrays]
    rounded = [np.asarray(array, np.float64) for array in inputs]
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(ops.attention)(*inputs)
    assert ours.dtype == dtype
    assert error(ours, plain_attention(*rounded)) < TOLERANCES[dtype]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("shape", "size", "stride", "pad"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_conv2d(shape: tuple[int, ...], size: int, stride: int, pad: tuple[int, int], dtype: str) -> None:
    inputs = [jnp.asarray(array, dtype) for array in (normal(0, *shape), normal(1, size, size, shape[-1], 5))]
    rounded = [np.asarray(array, np.float64) for array in inputs]
    ours = jax.jit(ops.conv2d, static_argnums=(2, 3))(*inputs, stride, (pad, pad))
    assert ours.dtype == dtype
    assert error(ours, plain_conv2d(*rounded, stride, (pad, pad))) < TOLERANCES[dtype]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_conv_over_frames(frames: int, dtype: str) -> None:
    inputs = [jnp.asarray(array, dtype) for array in (normal(0, 2, frames, 3, 2, 4), normal(1, 3, 4, 4))]
    rounded = [np.asarray(array, np.float64) for array in inputs]
    ours = jax.jit(ops.conv_over_frames)(*inputs)
    assert ours.dtype == dtype
    assert error(ours, plain_conv_over_frames(*rounded)) < TOLERANCES[dtype]


def difference_quotient(function: Callable[..., np.ndarray], arrays: list[np.ndarray], weights: np.ndarray) -> float:
    """Change of Σ weights · function along all ones, from two evaluations in float64."""
    step = 1e-6
    up, down = (function(*(array + sign * step for array in arrays)) for sign in (1, -1))
    return float(((up - down) * weights).sum() / (2 * step))


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("name", ["attention", "large attention", "conv2d", "small conv2d", "conv_over_frames"])
def test_gradients(name: str, remat: bool) -> None:
    padding = ((1, 1), (1, 1))
    ours, plain, arrays = {
        "attention": (ops.attention, plain_attention, [normal(i, 2, 6, 2, 4) for i in range(3)]),
        "large attention": (
            ops.attention,
            plain_attention,
            [normal(i, 2, n, 1, 4) for i, n in enumerate((ops.LARGE_SCORES // 128, 128, 128))],
        ),
        "conv2d": (
            lambda x, k: ops.conv2d(x, k, 1, padding),
            lambda x, k: plain_conv2d(x, k, 1, padding),
            [normal(0, 2, 5, 4, 3), normal(1, 3, 3, 3, 2)],
        ),
        "small conv2d": (
            lambda x, k: ops.conv2d(x, k, 2, padding),
            lambda x, k: plain_conv2d(x, k, 2, padding),
            [normal(0, 2, 2, 2, 3), normal(1, 3, 3, 3, 2)],
        ),
        "conv_over_frames": (
            ops.conv_over_frames,
            plain_conv_over_frames,
            [normal(0, 2, 3, 2, 2, 4), normal(1, 3, 4, 4)],
        ),
    }[name]
    weights = normal(9, *plain(*arrays).shape)
    function = jax.checkpoint(ours) if remat else ours

    def loss(*inputs: jax.Array) -> jax.Array:
        return (function(*inputs) * jnp.asarray(weights, jnp.float32)).sum()

    inputs = [jnp.asarray(array, jnp.float32) for array in arrays]
    gradients = jax.jit(jax.grad(loss, argnums=tuple(range(len(inputs)))))(*inputs)
    along_ones = sum(float(np.asarray(gradient, np.float64).sum()) for gradient in gradients)
    size = sum(float(np.abs(np.asarray(gradient)).sum()) for gradient in gradients)
    assert abs(along_ones - difference_quotient(plain, arrays, weights)) < 1e-5 * size


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_norms_keep_their_digits_far_from_zero(dtype: str) -> None:
    """With a mean 100 times the standard deviation: Σx² - (Σx)² would lose four of float32's seven digits."""
    x = np.asarray(jnp.asarray(100 + normal(0, 2, 5, 6, 4, 64), dtype), np.float64)
    groups = x.reshape(2, -1, 8, 8)
    moments = {"axis": (1, 3), "keepdims": True}
    by_group = ((groups - groups.mean(**moments)) / np.sqrt(groups.var(**moments) + 1e-5)).reshape(x.shape)
    by_row = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    cases = ((Network(lambda _, rngs: GroupNorm(64, 8, 1e-5), Config(), dtype), by_group),)
    cases += ((Network(lambda _, rngs: LayerNorm(64), Config(), dtype), by_row),)
    for network, expected in cases:
        ours = jax.jit(network.apply)(network.init(jax.random.key(0)), jnp.asarray(x, dtype))
        assert ours.dtype == dtype
        assert error(ours, expected) < {"float32": 2e-5}.get(dtype, TOLERANCES[dtype])


def test_the_layer_convolves_videos_frame_by_frame() -> None:
    network = Network(lambda _, rngs: Conv2d(3, 4, stride=2, padding=(0, 1), rngs=rngs), Config())
    params = network.init(jax.random.key(0))
    video = jnp.asarray(normal(0, 2, 3, 6, 4, 3), jnp.float32)
    by_frame = np.stack([network.apply(params, frame) for clip in video for frame in clip[:, None]])
    np.testing.assert_allclose(network.apply(params, video), by_frame.reshape(2, 3, 3, 2, 4), rtol=1e-5, atol=1e-6)


def in_a_new_process(program: str, **environment: str) -> str:
    inherited = {
        key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


PROGRAM = """
import os, sys
from magdiff_jax import runtime
from magdiff_jax.config import Config
assert "jax" not in sys.modules
runtime.prepare()
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
print(jax.jit(lambda x: x @ x)(jax.numpy.ones((2, 2)))[0, 0])
print(os.environ.get("XLA_FLAGS", ""))
print(jax.config.jax_compilation_cache_dir)
"""


def test_commands_start_with_flags_that_this_version_knows_and_fill_the_cache(tmp_path) -> None:
    result, flags, cache = in_a_new_process(PROGRAM, HOME=str(tmp_path)).splitlines()
    assert float(result) == 2
    assert flags.split() == list(runtime.FLAGS.get(version("jaxlib"), ()))
    assert cache == str(tmp_path / ".cache/magdiff_jax/xla")
    assert any((tmp_path / ".cache/magdiff_jax/xla").iterdir())


def test_the_users_own_settings_stay(tmp_path) -> None:
    own = "--xla_cpu_experimental_ynn_fusion_type=INDIVIDUAL_DOT"
    lines = in_a_new_process(PROGRAM, XLA_FLAGS=own, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")).splitlines()
    assert lines[1:] == [own, str(tmp_path / "own")]
    assert any((tmp_path / "own").iterdir())


def test_of_a_machine_that_is_known_only_its_form_is_traced() -> None:
    x = jnp.ones((2, 3))
    forms = {}
    for platform in ("cpu", "gpu", "tpu"):
        with ops.traced_for(platform):
            forms[platform] = str(jax.make_jaxpr(lambda x: ops.sum_channels(x))(x))
    assert forms["gpu"] == forms["tpu"] != forms["cpu"]
    assert ["dot_general" in forms[name] for name in ("cpu", "tpu")] == [True, False]
    assert not any("platform_index" in form for form in forms.values())
    assert "platform_index" in str(jax.make_jaxpr(lambda x: ops.sum_channels(x))(x))
