"""Group and layer normalisation, their gradients written out; statistics and all arithmetic in float32.

Left to automatic differentiation the norms are what costs the U-Net's training step most on a CPU, after its products:
sums over both positions and a group's channels do not vectorise, and many intermediate results are kept. Here sums are
taken channel by channel, those of a group's channels added up afterwards, and the gradients need only the input.
Figures are in `docs/performance.md`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from magdiff_jax.models.ops import sum_channels, sum_positions


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def group_norm(
    x: Float[Array, "batch *position channel"],
    scale: Float[Array, " channel"],
    bias: Float[Array, " channel"],
    groups: int,
    epsilon: float,
    silu: bool,
) -> Float[Array, "batch *position channel"]:
    """GroupNorm (Wu & He 2018), followed by SiLU if `silu`."""
    return _group_norm(x, scale, bias, groups, epsilon, silu)[0]


def _group_norm(x: Array, scale: Array, bias: Array, groups: int, epsilon: float, silu: bool) -> tuple[Array, Any]:
    wide = x.astype(jnp.float32)
    mean = _group_means(sum_positions(wide), groups, x)
    inverse = jax.lax.rsqrt(_group_means(sum_positions(jnp.square(wide - mean)), groups, x) + epsilon)
    result = _activate((wide - mean) * (inverse * scale) + bias, silu)
    return result.astype(x.dtype), (x, scale, bias, mean, inverse)


def _group_norm_gradient(
    groups: int, epsilon: float, silu: bool, residuals: Any, gradient: Array
) -> tuple[Array, Array, Array]:
    x, scale, bias, mean, inverse = residuals
    normed = (x.astype(jnp.float32) - mean) * inverse
    _, pull_back = jax.vjp(partial(_activate, silu=silu), normed * scale + bias)
    (gradient,) = pull_back(gradient.astype(jnp.float32))
    # By clip and channel. The statistics' own part of the gradient is made of the same sums.
    of_scale, of_bias = sum_positions(gradient * normed), sum_positions(gradient)
    along_mean, along_deviation = (_group_means(sums * scale, groups, x) for sums in (of_bias, of_scale))
    of_x = inverse * (gradient * scale - along_mean - normed * along_deviation)
    return of_x.astype(x.dtype), of_scale.sum(axis=0).astype(scale.dtype), of_bias.sum(axis=0).astype(bias.dtype)


group_norm.defvjp(_group_norm, _group_norm_gradient)


@jax.custom_vjp
def layer_norm(
    x: Float[Array, "*position channel"], scale: Float[Array, " channel"], bias: Float[Array, " channel"]
) -> Float[Array, "*position channel"]:
    """LayerNorm (Ba et al. 2016) over the last axis, epsilon 1e-5 as in PyTorch."""
    return _layer_norm(x, scale, bias)[0]


def _layer_norm(x: Array, scale: Array, bias: Array) -> tuple[Array, Any]:
    wide, channels = x.astype(jnp.float32), x.shape[-1]
    mean = sum_channels(wide) / channels
    inverse = jax.lax.rsqrt(sum_channels(jnp.square(wide - mean)) / channels + 1e-5)
    return ((wide - mean) * (inverse * scale) + bias).astype(x.dtype), (x, scale, bias, mean, inverse)


def _layer_norm_gradient(residuals: Any, gradient: Array) -> tuple[Array, Array, Array]:
    x, scale, bias, mean, inverse = residuals
    gradient = gradient.astype(jnp.float32)
    normed = (x.astype(jnp.float32) - mean) * inverse
    scaled = gradient * scale
    along_mean, along_deviation = (sum_channels(each) / x.shape[-1] for each in (scaled, scaled * normed))
    of_x = inverse * (scaled - along_mean - normed * along_deviation)
    of_scale, of_bias = (sum_positions(each[None])[0] for each in (gradient * normed, gradient))
    return of_x.astype(x.dtype), of_scale.astype(scale.dtype), of_bias.astype(bias.dtype)


layer_norm.defvjp(_layer_norm, _layer_norm_gradient)


def _activate(x: Array, silu: bool) -> Array:
    return jax.nn.silu(x) if silu else x


def _group_means(sums: Float[Array, "batch channel"], groups: int, x: Array) -> Float[Array, "batch *ones channel"]:
    """Mean of each group of x's channels at each of them, from the sums over positions."""
    batch, channels = sums.shape
    means = sums.reshape(batch, groups, -1).sum(axis=-1, keepdims=True) * (batch * groups / x.size)
    spread = jnp.broadcast_to(means, (batch, groups, channels // groups))
    return spread.reshape(batch, *(1,) * (x.ndim - 2), channels)
