"""The operations whose best form depends on the machine: each choice stands here, once, and nowhere else.

Where the program's machine is known when it is traced (`traced_for`), only its form is. Else
`jax.lax.platform_dependent` chooses when the program is lowered. Figures are in `docs/performance.md`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Zeros (above, below) and (left, right).
Padding = tuple[tuple[int, int], tuple[int, int]]

# A batch element's scores of all heads, from which on they leave a CPU's cache: made for one element at a time.
LARGE_SCORES = 2**18

_platform: ContextVar[str | None] = ContextVar("platform", default=None)


@contextmanager
def traced_for(platform: str) -> Iterator[None]:
    """What is traced within is compiled for such devices ("cpu", "gpu", "tpu") alone.

    A training step has hundreds of choices; with all forms of each it takes a third longer to trace and compile.
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def _choose(*operands: Array, cpu: Callable[..., Array], default: Callable[..., Array]) -> Array:
    platform = _platform.get()
    if platform is None:
        return jax.lax.platform_dependent(*operands, cpu=cpu, default=default)
    return (cpu if platform == "cpu" else default)(*operands)


def attention(
    query: Float[Array, "batch queries heads dim"],
    key: Float[Array, "batch keys heads dim"],
    value: Float[Array, "batch keys heads dim"],
    *,
    causal: bool = False,
) -> Float[Array, "batch queries heads dim"]:
    """softmax(query · keyᵀ / √dim) · value, the softmax in float32 (Vaswani et al. 2017, eq. 1).

    `causal`: query i takes no notice of the keys after i.
    """
    return _choose(
        query,
        key,
        value,
        cpu=partial(_attention_cpu, causal=causal),
        default=partial(jax.nn.dot_product_attention, is_causal=causal),
    )


def _attention_cpu(query: Array, key: Array, value: Array, causal: bool) -> Array:
    batch, queries, heads, _ = query.shape
    if batch > 1 and heads * queries * key.shape[1] >= LARGE_SCORES:
        single = partial(_attention_heads_first, causal=causal)
        return jax.lax.map(lambda qkv: single(*(t[None] for t in qkv))[0], (query, key, value))
    return _attention_heads_first(query, key, value, causal)


def _attention_heads_first(query: Array, key: Array, value: Array, causal: bool) -> Array:
    """Plain products of contiguous matrices; the division by the softmax's sum last, on fewer numbers."""
    query, key, value = (t.swapaxes(1, 2) for t in (query, key, value))
    scores = jnp.matmul(query, key.swapaxes(2, 3), preferred_element_type=jnp.float32)
    if causal:
        scores = jnp.where(jnp.tri(scores.shape[2], scores.shape[3], dtype=bool), scores, -jnp.inf)
    largest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp((scores - largest) * query.shape[-1] ** -0.5)
    mixed = jnp.matmul(weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return (mixed / weights.sum(axis=-1, keepdims=True)).astype(value.dtype).swapaxes(1, 2)


def conv2d(
    x: Float[Array, "batch height width channel"],
    kernel: Float[Array, "rows columns channel out"],
    stride: int,
    padding: Padding,
) -> Float[Array, "batch new_height new_width out"]:
    """Convolution over height and width."""
    return _choose(
        x,
        kernel,
        cpu=lambda x, kernel: _conv2d_cpu(x, kernel, stride, padding),
        default=lambda x, kernel: _conv2d(x, kernel, stride, padding),
    )


def _conv2d(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=layout)


def _conv2d_cpu(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """Where the kernel has more pixels than the image XLA exchanges the two, which takes 11 to 16 times as long."""
    rows, columns, _, out = kernel.shape
    if x.shape[1] * x.shape[2] >= rows * columns:
        return _conv2d(x, kernel, stride, padding)
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    height, width = padded.shape[1] - rows + 1, padded.shape[2] - columns + 1
    neighbours = [
        padded[:, row : row + height : stride, column : column + width : stride]
        for row in range(rows)
        for column in range(columns)
    ]
    return jnp.concatenate(neighbours, axis=-1) @ kernel.reshape(-1, out)


def conv_over_frames(
    x: Float[Array, "batch frame height width channel"],
    kernel: Float[Array, "3 channel out"],
) -> Float[Array, "batch frame height width out"]:
    """Convolution of width 3 over the frames, zeros outside, every pixel on its own."""
    batch, frame, height, width, channel = x.shape
    y = conv2d(x.reshape(batch, frame, height * width, channel), kernel[:, None], 1, ((1, 1), (0, 0)))
    return y.reshape(batch, frame, height, width, -1)


def sum_positions(x: Float[Array, "batch *position channel"]) -> Float[Array, "batch channel"]:
    """Sum over all axes but the first and the last, in float32."""
    return _choose(x, cpu=_sum_positions_cpu, default=_sum_positions)


def _sum_positions(x: Array) -> Array:
    return x.sum(axis=tuple(range(1, x.ndim - 1)))


def _sum_positions_cpu(x: Array) -> Array:
    """A product takes what it sums up from memory; XLA's own sum computes it anew, number by number, in strides."""
    rows = x.reshape(len(x), -1, x.shape[-1])
    return jnp.einsum("br,brc->bc", jnp.ones(rows.shape[:2], x.dtype), rows, precision="highest")


def sum_channels(x: Float[Array, "*position channel"]) -> Float[Array, "*position 1"]:
    """Sum over the last axis, in float32."""
    return _choose(x, cpu=_sum_channels_cpu, default=partial(jnp.sum, axis=-1, keepdims=True))


def _sum_channels_cpu(x: Array) -> Array:
    return jnp.matmul(x, jnp.ones((x.shape[-1], 1), x.dtype), precision="highest")
