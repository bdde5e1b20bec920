"""AutoencoderKL: images to latents and back; its decoder can carry VidRD's temporal convolutions.

Attribute names are PyTorch's (Rombach et al. 2022, diffusers' AutoencoderKL; VidRD, arXiv 2309.03549).
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from magdiff_jax.models import ops
from magdiff_jax.models.blocks import Downsample, ResnetBlock, Upsample
from magdiff_jax.models.configs import VAEConfig
from magdiff_jax.models.layers import Conv2d, GroupNorm, Linear, PointwiseConv
from magdiff_jax.models.temporal import TemporalConvs, Video

EPSILON = 1e-6
TEMPORAL_LAYERS = 3
# A fresh encoder's: at 0, its noise would be larger than its means, and it narrows by no more than the learning rate in
# a step.
LOG_VARIANCE = -6.0

Images = Float[Array, "batch _height _width _channel"]


class ImageAttention(nnx.Module):
    """One-head self-attention over an image's positions, added to the input."""

    def __init__(self, channels: int, groups: int, *, rngs: nnx.Rngs):
        self.group_norm = GroupNorm(channels, groups, EPSILON)
        self.to_q = Linear(channels, channels, rngs=rngs)
        self.to_k = Linear(channels, channels, rngs=rngs)
        self.to_v = Linear(channels, channels, rngs=rngs)
        self.to_out = Linear(channels, channels, rngs=rngs)

    def __call__(self, x: Images) -> Images:
        batch, height, width, channels = x.shape
        tokens = self.group_norm(x).reshape(batch, height * width, channels)
        query, key, value = (project(tokens)[:, :, None] for project in (self.to_q, self.to_k, self.to_v))
        mixed = ops.attention(query, key, value)[:, :, 0]
        return x + self.to_out(mixed).reshape(x.shape)


class MidBlock(nnx.Module):
    """resnet → attention → resnet."""

    def __init__(self, channels: int, groups: int, *, rngs: nnx.Rngs):
        self.resnets = nnx.List(
            [ResnetBlock(channels, channels, groups=groups, epsilon=EPSILON, rngs=rngs) for _ in range(2)]
        )
        self.attentions = nnx.List([ImageAttention(channels, groups, rngs=rngs)])

    def __call__(self, x: Images) -> Images:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Level(nnx.Module):
    """The resnets of one resolution, their temporal convolutions or none, and a resampler or none."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        resnets: int,
        groups: int,
        *,
        temporal: bool = False,
        downsample: bool = False,
        upsample: bool = False,
        rngs: nnx.Rngs,
    ):
        inputs = [in_channels] + [out_channels] * (resnets - 1)
        self.resnets = nnx.List(
            [ResnetBlock(channels, out_channels, groups=groups, epsilon=EPSILON, rngs=rngs) for channels in inputs]
        )
        self.temp_convs = nnx.List(
            [TemporalConvs(out_channels, TEMPORAL_LAYERS, groups, rngs=rngs) for _ in inputs if temporal]
        )
        # Padded at the bottom and right only, unlike the U-Net's.
        self.downsamplers = nnx.List([Downsample(out_channels, padding=(0, 1), rngs=rngs)] if downsample else [])
        self.upsamplers = nnx.List([Upsample(out_channels, rngs=rngs)] if upsample else [])


class Encoder(nnx.Module):
    """Image → mean and log-variance of the latents (before `quant_conv`)."""

    def __init__(self, config: VAEConfig, *, rngs: nnx.Rngs):
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = Conv2d(config.in_channels, widths[0], rngs=rngs)
        last = len(widths) - 1
        self.down_blocks = nnx.List(
            [
                Level(widths[max(i - 1, 0)], width, config.layers_per_block, groups, downsample=i < last, rngs=rngs)
                for i, width in enumerate(widths)
            ]
        )
        self.mid_block = MidBlock(widths[-1], groups, rngs=rngs)
        self.conv_norm_out = GroupNorm(widths[-1], groups, EPSILON)
        self.conv_out = Conv2d(widths[-1], 2 * config.latent_channels, rngs=rngs)

    def __call__(self, x: Images) -> Images:
        x = self.conv_in(x)
        for block in self.down_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            for downsample in block.downsamplers:
                x = downsample(x)
        return self.conv_out(self.conv_norm_out(self.mid_block(x), silu=True))


class Decoder(nnx.Module):
    """Latents (after `post_quant_conv`) → images, temporal convolutions seeing the frames of each clip."""

    def __init__(self, config: VAEConfig, *, rngs: nnx.Rngs):
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        last = len(widths) - 1
        self.conv_in = Conv2d(config.latent_channels, widths[0], rngs=rngs)
        self.mid_block = MidBlock(widths[0], groups, rngs=rngs)
        self.up_blocks = nnx.List(
            [
                Level(
                    widths[max(i - 1, 0)],
                    width,
                    config.layers_per_block + 1,
                    groups,
                    temporal=config.add_temp_conv,
                    upsample=i < last,
                    rngs=rngs,
                )
                for i, width in enumerate(widths)
            ]
        )
        self.conv_norm_out = GroupNorm(widths[-1], groups, EPSILON)
        self.conv_out = Conv2d(widths[-1], config.out_channels, rngs=rngs)

    def __call__(self, latents: Video) -> Video:
        batch, frame = latents.shape[:2]
        x = self.mid_block(self.conv_in(latents.reshape(batch * frame, *latents.shape[2:])))
        for block in self.up_blocks:
            for index, resnet in enumerate(block.resnets):
                x = resnet(x)
                if block.temp_convs:
                    x = block.temp_convs[index](x.reshape(batch, frame, *x.shape[1:])).reshape(x.shape)
            for upsample in block.upsamplers:
                x = upsample(x, 2 * x.shape[-3], 2 * x.shape[-2])
        x = self.conv_out(self.conv_norm_out(x, silu=True))
        return x.reshape(batch, frame, *x.shape[1:])


class VAE(nnx.Module):
    """Latents here are unscaled; `config.scaling_factor` belongs to whoever hands them to the U-Net."""

    def __init__(self, config: VAEConfig, *, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)
        self.quant_conv = PointwiseConv(2 * config.latent_channels, 2 * config.latent_channels, rngs=rngs)
        self.quant_conv.bias = nnx.Param(jnp.repeat(jnp.array([0.0, LOG_VARIANCE]), config.latent_channels))
        self.post_quant_conv = PointwiseConv(config.latent_channels, config.latent_channels, rngs=rngs)

    def encode(self, images: Images) -> tuple[Images, Images]:
        """Images in [-1, 1] → mean and log-variance (clipped to [-30, 20], as in diffusers) of their latents."""
        mean, log_variance = jnp.split(self.quant_conv(self.encoder(images)), 2, axis=-1)
        return mean, jnp.clip(log_variance, -30.0, 20.0)

    def decode(self, latents: Video) -> Video:
        """Latents of clips, [batch, frame, height, width, channel] → frames, about [-1, 1] (not clipped)."""
        return self.decoder(self.post_quant_conv(latents))
