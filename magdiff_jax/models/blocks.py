"""The U-Net's building blocks: resnet, resampling, and the transformer with its temporal step."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from magdiff_jax.models.attention import CrossAttention, FeedForward, KeysValues, SelfAttention
from magdiff_jax.models.layers import Conv2d, GroupNorm, LayerNorm, Linear, PointwiseConv, resize_nearest
from magdiff_jax.models.temporal import Video, frame_embedding

# Images [batch, height, width, channel] in the VAE, videos with a frame axis in the U-Net.
Feature = Float[Array, "batch *frame _height _width _channel"]


class ResnetBlock(nnx.Module):
    """GroupNorm → SiLU → conv, twice, added to the input; the timestep enters between the two.

    On videos the norms take their statistics over all frames together (released code).
    `time_dim` None: no timestep (the VAE).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        epsilon: float,
        time_dim: int | None = None,
        rngs: nnx.Rngs,
    ):
        self.norm1 = GroupNorm(in_channels, groups, epsilon)
        self.conv1 = Conv2d(in_channels, out_channels, rngs=rngs)
        self.norm2 = GroupNorm(out_channels, groups, epsilon)
        self.conv2 = Conv2d(out_channels, out_channels, rngs=rngs)
        if time_dim is not None:
            self.time_emb_proj = Linear(time_dim, out_channels, rngs=rngs)
        if in_channels != out_channels:
            self.conv_shortcut = PointwiseConv(in_channels, out_channels, rngs=rngs)

    def __call__(self, x: Feature, time_embedding: Float[Array, "batch time"] | None = None) -> Feature:
        hidden = self.conv1(self.norm1(x, silu=True))
        if time_embedding is not None:
            shift = self.time_emb_proj(jax.nn.silu(time_embedding))
            hidden = hidden + shift.reshape(shift.shape[0], *(1,) * (x.ndim - 2), shift.shape[-1])
        hidden = self.conv2(self.norm2(hidden, silu=True))
        return hidden + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Downsample(nnx.Module):
    """3x3 convolution of stride 2."""

    def __init__(self, channels: int, *, padding: tuple[int, int] = (1, 1), rngs: nnx.Rngs):
        self.conv = Conv2d(channels, channels, stride=2, padding=padding, rngs=rngs)

    def __call__(self, x: Feature) -> Feature:
        return self.conv(x)


class Upsample(nnx.Module):
    """Nearest-neighbour resize, then a 3x3 convolution."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.conv = Conv2d(channels, channels, rngs=rngs)

    def __call__(self, x: Feature, height: int, width: int) -> Feature:
        return self.conv(resize_nearest(x, height, width))


class TransformerBlock(nnx.Module):
    """Self-attention within each frame, APA, attention over the frames, feed-forward; each with its residual.

    The frame embedding is added to the residual stream itself, also for a single frame, whose temporal attention
    is skipped (released code).
    """

    def __init__(
        self, channels: int, heads: int, context_dim: int, *, apa: bool, frame_embedding: bool, rngs: nnx.Rngs
    ):
        self.frame_embedding = frame_embedding
        self.norm1 = LayerNorm(channels)
        self.attn1 = SelfAttention(channels, heads, rngs=rngs)
        self.norm2 = LayerNorm(channels)
        self.attn2 = CrossAttention(channels, context_dim, heads, apa=apa, rngs=rngs)
        self.temp_norm = LayerNorm(channels)
        self.temp_attn = SelfAttention(channels, heads, zero_out=True, rngs=rngs)
        self.norm3 = LayerNorm(channels)
        self.ff = FeedForward(channels, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch frame position channel"], keys_values: KeysValues
    ) -> Float[Array, "batch frame position channel"]:
        batch, frame, position, channel = x.shape
        by_frame = (batch * frame, position, channel)
        by_clip = (batch, frame * position, channel)
        by_position = (batch * position, frame, channel)

        x = x + self.attn1(self.norm1(x).reshape(by_frame)).reshape(x.shape)
        x = x + self.attn2(self.norm2(x).reshape(by_clip), keys_values).reshape(x.shape)
        if self.frame_embedding:
            x = x + jnp.asarray(frame_embedding(frame, channel), x.dtype)[:, None]
        if frame > 1:
            normed = self.temp_norm(x).swapaxes(1, 2).reshape(by_position)
            x = x + self.temp_attn(normed).reshape(batch, position, frame, channel).swapaxes(1, 2)
        return x + self.ff(self.norm3(x))


class Transformer(nnx.Module):
    """GroupNorm frame by frame → `proj_in` → one transformer block → `proj_out`, added to the input."""

    def __init__(
        self,
        channels: int,
        heads: int,
        context_dim: int,
        *,
        groups: int,
        linear_projection: bool,
        apa: bool,
        frame_embedding: bool,
        rngs: nnx.Rngs,
    ):
        projection = Linear if linear_projection else PointwiseConv
        self.norm = GroupNorm(channels, groups, 1e-6)
        self.proj_in = projection(channels, channels, rngs=rngs)
        self.transformer_blocks = nnx.List(
            [TransformerBlock(channels, heads, context_dim, apa=apa, frame_embedding=frame_embedding, rngs=rngs)]
        )
        self.proj_out = projection(channels, channels, rngs=rngs)

    def __call__(self, x: Video, keys_values: KeysValues) -> Video:
        batch, frame, height, width, channel = x.shape
        hidden = self.norm(x.reshape(batch * frame, height, width, channel))
        hidden = self.proj_in(hidden).reshape(batch, frame, height * width, channel)
        for block in self.transformer_blocks:
            hidden = block(hidden, keys_values)
        return x + self.proj_out(hidden).reshape(x.shape)
