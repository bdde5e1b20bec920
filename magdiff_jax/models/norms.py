"""Group normalisation, its gradient written out.

Left to automatic differentiation it is the U-Net's most expensive part on a CPU: sums over both positions and a group's
channels do not vectorise, and many intermediate results are kept (docs/performance.md). Here sums are taken channel by
channel, those of a group's channels added up afterwards, and the gradient needs only the input.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def group_norm(
    x: Float[Array, "batch *position channel"],
    scale: Float[Array, " channel"],
    bias: Float[Array, " channel"],
    groups: int,
    epsilon: float,
    silu: bool,
) -> Float[Array, "batch *position channel"]:
    """GroupNorm (Wu & He 2018), statistics and all arithmetic in float32; `silu`: x · sigmoid(x) of the result."""
    return _forward(x, scale, bias, groups, epsilon, silu)[0]


def _forward(x: Array, scale: Array, bias: Array, groups: int, epsilon: float, silu: bool) -> tuple[Array, Any]:
    wide = x.astype(jnp.float32)
    mean = _group_means(_sums(wide), groups, x)
    inverse = jax.lax.rsqrt(_group_means(_sums(jnp.square(wide - mean)), groups, x) + epsilon)
    result = _activate((wide - mean) * (inverse * scale) + bias, silu)
    return result.astype(x.dtype), (x, scale, bias, mean, inverse)


def _backward(groups: int, epsilon: float, silu: bool, residuals: Any, gradient: Array) -> tuple[Array, Array, Array]:
    x, scale, bias, mean, inverse = residuals
    normed = (x.astype(jnp.float32) - mean) * inverse
    _, pull_back = jax.vjp(partial(_activate, silu=silu), normed * scale + bias)
    (gradient,) = pull_back(gradient.astype(jnp.float32))
    # By clip and channel. The statistics' own part of the gradient is made of the same sums.
    of_scale, of_bias = _sums(gradient * normed), _sums(gradient)
    along_mean, along_deviation = (_group_means(sums * scale, groups, x) for sums in (of_bias, of_scale))
    of_x = inverse * (gradient * scale - along_mean - normed * along_deviation)
    return of_x.astype(x.dtype), of_scale.sum(axis=0).astype(scale.dtype), of_bias.sum(axis=0).astype(bias.dtype)


group_norm.defvjp(_forward, _backward)


def _activate(x: Array, silu: bool) -> Array:
    return jax.nn.silu(x) if silu else x


def _sums(x: Array) -> Float[Array, "batch channel"]:
    return x.sum(axis=tuple(range(1, x.ndim - 1)))


def _group_means(sums: Float[Array, "batch channel"], groups: int, x: Array) -> Float[Array, "batch *ones channel"]:
    """Mean of each group of x's channels at each of them, from the sums over positions."""
    batch, channels = sums.shape
    means = sums.reshape(batch, groups, -1).sum(axis=-1, keepdims=True) * (batch * groups / x.size)
    spread = jnp.broadcast_to(means, (batch, groups, channels // groups))
    return spread.reshape(batch, *(1,) * (x.ndim - 2), channels)
