"""The leaves of every network, with PyTorch's initialisation and epsilon.

A layer's class says how PyTorch stores its weights (`weights/table.py` reads it off), so `PointwiseConv` is a class
although it computes what `Linear` does. Compute dtype follows the parameters' and inputs' dtype; norms take their
statistics in float32.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from magdiff_jax.models import ops
from magdiff_jax.models.norms import group_norm, layer_norm

# Uniform within ±1/√fan_in: torch.nn.Linear's and torch.nn.Conv2d's own initialisation of their weights.
torch_uniform = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
zeros = nnx.initializers.zeros_init()


class Linear(nnx.Linear):
    """y = x · kernel + bias over the last axis."""

    def __init__(
        self, in_features: int, out_features: int, *, use_bias: bool = True, zero: bool = False, rngs: nnx.Rngs
    ):
        super().__init__(
            in_features, out_features, use_bias=use_bias, kernel_init=zeros if zero else torch_uniform, rngs=rngs
        )


class PointwiseConv(Linear):
    """A 1x1 convolution: on channels-last arrays the product of `Linear`, but PyTorch stores it as a convolution."""


class Conv2d(nnx.Module):
    """A convolution over height and width, every frame and clip on its own.

    `padding` is (before, after), the same for height and width; the default keeps the size at stride 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: tuple[int, int] = (1, 1),
        use_bias: bool = True,
        zero: bool = False,
        rngs: nnx.Rngs,
    ):
        self.stride = stride
        self.padding = (padding, padding)
        init = zeros if zero else torch_uniform
        self.kernel = nnx.Param(init(rngs.params(), (kernel_size, kernel_size, in_features, out_features), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None

    def __call__(
        self, x: Float[Array, "*batch height width channel"]
    ) -> Float[Array, "*batch new_height new_width out"]:
        images = x.reshape(-1, *x.shape[-3:])
        y = ops.conv2d(images, self.kernel[...], self.stride, self.padding)
        if self.bias is not None:
            y = y + self.bias[...]
        return y.reshape(*x.shape[:-3], *y.shape[1:])


class FrameConv(nnx.Module):
    """A convolution of width 3 over the frames (PyTorch: Conv3d with a 3x1x1 kernel)."""

    def __init__(self, channels: int, *, zero: bool = False, rngs: nnx.Rngs):
        init = zeros if zero else torch_uniform
        self.kernel = nnx.Param(init(rngs.params(), (3, channels, channels), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(
        self, x: Float[Array, "batch frame height width channel"]
    ) -> Float[Array, "batch frame height width channel"]:
        return ops.conv_over_frames(x, self.kernel[...]) + self.bias[...]


class GroupNorm(nnx.Module):
    """Statistics over all axes but the first, group by group: over a clip's frames together where x is a video."""

    def __init__(self, channels: int, groups: int, epsilon: float):
        self.groups = groups
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(
        self, x: Float[Array, "batch *position channel"], *, silu: bool = False
    ) -> Float[Array, "batch *position channel"]:
        """`silu`: followed by SiLU."""
        return group_norm(x, self.scale[...], self.bias[...], self.groups, self.epsilon, silu)


class LayerNorm(nnx.Module):
    """Statistics over the last axis, epsilon 1e-5 as in PyTorch."""

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Float[Array, "*position channel"]) -> Float[Array, "*position channel"]:
        return layer_norm(x, self.scale[...], self.bias[...])


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The exact (erf) GELU, PyTorch's default."""
    return jax.nn.gelu(x, approximate=False)


def resize_nearest(
    x: Float[Array, "batch *frame height width channel"], height: int, width: int
) -> Float[Array, "batch *frame new_height new_width channel"]:
    """Nearest-neighbour resize as PyTorch's `interpolate`: source index floor(i · old / new)."""
    if (height, width) == (2 * x.shape[-3], 2 * x.shape[-2]):
        return x.repeat(2, axis=-3).repeat(2, axis=-2)
    rows = jnp.arange(height) * x.shape[-3] // height
    columns = jnp.arange(width) * x.shape[-2] // width
    return x.take(rows, axis=-3).take(columns, axis=-2)
