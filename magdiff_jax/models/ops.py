"""The operations whose best form depends on the machine: each choice stands here, once, and nowhere else.

`jax.lax.platform_dependent` chooses when a program is lowered, so that one compiled for another machine (a TPU
topology, say) gets that machine's form. Figures are in `docs/performance.md`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Score matrices of this many tokens and more leave a CPU's cache: they are made for one clip's frame at a time.
_LONG_SEQUENCE = 512


def attention(
    query: Float[Array, "batch queries heads dim"],
    key: Float[Array, "batch keys heads dim"],
    value: Float[Array, "batch keys heads dim"],
) -> Float[Array, "batch queries heads dim"]:
    """softmax(query · keyᵀ / √dim) · value, the softmax in float32 (Vaswani et al. 2017, eq. 1)."""
    return jax.lax.platform_dependent(query, key, value, cpu=_attention_cpu, default=_attention)


def _attention(query: Array, key: Array, value: Array) -> Array:
    return jax.nn.dot_product_attention(query, key, value)


def _attention_cpu(query: Array, key: Array, value: Array) -> Array:
    if query.shape[1] >= _LONG_SEQUENCE and query.shape[0] > 1:
        return jax.lax.map(lambda qkv: _attention_by_head(*(t[None] for t in qkv))[0], (query, key, value))
    return _attention_by_head(query, key, value)


def _attention_by_head(query: Array, key: Array, value: Array) -> Array:
    """Plain batched products; dividing by the softmax's sum last touches fewer numbers than dividing the weights."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query * query.shape[-1] ** -0.5, key).astype(jnp.float32)
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    total = weights.sum(axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights.astype(value.dtype), value)
    return (mixed / total.transpose(0, 2, 1)[..., None]).astype(value.dtype)


def conv_over_frames(
    x: Float[Array, "batch frame height width channel"],
    kernel: Float[Array, "3 channel out"],
) -> Float[Array, "batch frame height width out"]:
    """Convolution of width 3 over the frames, zeros outside, every pixel on its own."""
    batch, frame, height, width, channel = x.shape
    rows = x.reshape(batch, frame, height * width, channel).swapaxes(1, 2).reshape(-1, frame, channel)
    rows = jax.lax.conv_general_dilated(
        rows, kernel, window_strides=(1,), padding="SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    return rows.reshape(batch, height * width, frame, -1).swapaxes(1, 2).reshape(batch, frame, height, width, -1)
