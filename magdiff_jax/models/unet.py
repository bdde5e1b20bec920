"""The 3-D U-Net of VidRD and MagDiff.

    conv_in(noise ‖ subject)                                       HFA: subject latents beside the noise
    down:  layers_per_block x (resnet → temporal convs → transformer) → downsample
    mid:   resnet → temporal convs → transformer → resnet → temporal convs
    up:    (layers_per_block + 1) x (‖ skip → resnet → temporal convs → transformer) → upsample
    conv_out(SiLU(norm))

Attribute names are PyTorch's. Sources: VidRD (arXiv 2309.03549), MagDiff (arXiv 2311.17338) and their released code.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from magdiff_jax.models.attention import KeysValues, Tokens
from magdiff_jax.models.blocks import Downsample, ResnetBlock, Transformer, Upsample
from magdiff_jax.models.configs import UNetConfig
from magdiff_jax.models.layers import Conv2d, GroupNorm, Linear
from magdiff_jax.models.temporal import Keys, TemporalConvs, Video, fold_in

EPSILON = 1e-5
TEMPORAL_LAYERS = 4


class Condition(NamedTuple):
    """What a clip is conditioned on, in the form that every denoising step uses.

    Attributes:
        keys_values: of each cross-attention, in the order of execution.
        subject: HFA's subject latents at the size of the noise; None without HFA.
    """

    keys_values: tuple[KeysValues, ...]
    subject: Video | None


def timestep_embedding(timesteps: Int[Array, " batch"], width: int) -> Float[Array, "batch width"]:
    """Sinusoids of the timestep, all cosines first (Ho et al. 2020, in Stable Diffusion's order)."""
    frequencies = jnp.exp(jnp.arange(width // 2, dtype=jnp.float32) * (-jnp.log(10000.0) / (width // 2)))
    angles = timesteps.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class TimestepEmbedding(nnx.Module):
    """Two linear layers with SiLU between, applied to the sinusoids."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.linear_1 = Linear(in_channels, out_channels, rngs=rngs)
        self.linear_2 = Linear(out_channels, out_channels, rngs=rngs)

    def __call__(self, x: Float[Array, "batch width"]) -> Float[Array, "batch time"]:
        return self.linear_2(jax.nn.silu(self.linear_1(x)))


class Layer(NamedTuple):
    """A resnet and what follows it, up to the next resnet."""

    resnet: ResnetBlock
    temp_conv: TemporalConvs | None
    transformer: Transformer | None


class Placement(NamedTuple):
    """Where things lie on a mesh of devices, said layer by layer; on one device there is nothing to say.

    Attributes:
        activations: applied to the input and output of each layer, [batch, frame, height, width, channel].
        parameters: applied to the modules of each layer where they are used; with `remat` also in the backward pass, so
            that parameters which are shared out among devices are gathered for one layer at a time.
    """

    activations: Callable[[Any], Any]
    parameters: Callable[[Any], Any]


ANYWHERE = Placement(lambda x: x, lambda module: module)


def run_layer(
    placement: Placement,
    layer: Layer,
    x: Video,
    time: Float[Array, "batch time"],
    keys_values: KeysValues,
    dropout_keys: Keys | None,
) -> Video:
    layer = placement.parameters(layer)
    x = layer.resnet(x, time)
    if layer.temp_conv is not None:
        x = layer.temp_conv(x, dropout_keys)
    if layer.transformer is not None:
        x = layer.transformer(x, keys_values)
    return x


class Block(nnx.Module):
    """One level of the U-Net: `resnets`, `temp_convs` and `attentions` side by side, as PyTorch has them.

    Args:
        in_channels: of each resnet.
        out_channels: of all of them.
        heads: of the transformers.
        transformers: how many of the layers end in one; the first ones do.
        downsample, upsample: what stands at the block's end.
    """

    def __init__(
        self,
        config: UNetConfig,
        in_channels: Sequence[int],
        out_channels: int,
        heads: int,
        transformers: int,
        *,
        downsample: bool = False,
        upsample: bool = False,
        rngs: nnx.Rngs,
    ):
        groups = config.norm_num_groups
        time_dim = 4 * config.block_out_channels[0]
        self.resnets = nnx.List(
            [
                ResnetBlock(channels, out_channels, groups=groups, epsilon=EPSILON, time_dim=time_dim, rngs=rngs)
                for channels in in_channels
            ]
        )
        self.temp_convs = nnx.List(
            [
                TemporalConvs(out_channels, TEMPORAL_LAYERS, groups, rngs=rngs)
                for _ in in_channels
                if config.add_temp_conv
            ]
        )
        self.attentions = nnx.List(
            [
                Transformer(
                    out_channels,
                    heads,
                    config.cross_attention_dim,
                    groups=groups,
                    linear_projection=config.use_linear_projection,
                    apa=config.apa,
                    frame_embedding=config.add_temp_embed,
                    rngs=rngs,
                )
                for _ in range(transformers)
            ]
        )
        self.downsamplers = nnx.List([Downsample(out_channels, rngs=rngs)] if downsample else [])
        self.upsamplers = nnx.List([Upsample(out_channels, rngs=rngs)] if upsample else [])

    def layers(self) -> list[Layer]:
        """The block's parts in the order of execution."""
        parts = itertools.zip_longest(self.resnets, self.temp_convs, self.attentions)
        return [Layer(*part) for part in parts]


class UNet(nnx.Module):
    """Predicts the noise (or the velocity) in a clip's latents. See the module's docstring for the plan."""

    def __init__(self, config: UNetConfig, *, rngs: nnx.Rngs):
        self.config = config
        widths = config.block_out_channels
        self.conv_in = Conv2d(config.in_channels, widths[0], rngs=rngs)
        self.hfa_projections = nnx.List(
            [
                Conv2d(config.latent_channels, config.latent_channels, zero=True, rngs=rngs)
                for _ in config.hfa_levels[:-1]
            ]
        )
        self.time_embedding = TimestepEmbedding(widths[0], 4 * widths[0], rngs=rngs)

        depth = config.layers_per_block
        last = len(widths) - 1
        skips = [widths[0]]
        down_blocks, up_blocks = [], []
        channels = widths[0]
        for level, (kind, width) in enumerate(zip(config.down_block_types, widths, strict=True)):
            block = Block(
                config,
                [channels] + [width] * (depth - 1),
                width,
                config.num_attention_heads[level],
                depth if kind.startswith("CrossAttn") else 0,
                downsample=level < last,
                rngs=rngs,
            )
            skips += [width] * (depth + (level < last))
            down_blocks.append(block)
            channels = width
        self.down_blocks = nnx.List(down_blocks)

        self.mid_block = Block(config, [channels] * 2, channels, config.num_attention_heads[-1], 1, rngs=rngs)

        for index, (kind, width) in enumerate(zip(config.up_block_types, reversed(widths), strict=True)):
            inputs = [channels] + [width] * depth
            block = Block(
                config,
                [channels + skips.pop() for channels in inputs],
                width,
                config.num_attention_heads[-1 - index],
                depth + 1 if kind.startswith("CrossAttn") else 0,
                upsample=index < last,
                rngs=rngs,
            )
            up_blocks.append(block)
            channels = width
        self.up_blocks = nnx.List(up_blocks)

        self.conv_norm_out = GroupNorm(widths[0], config.norm_num_groups, EPSILON)
        self.conv_out = Conv2d(widths[0], config.latent_channels, rngs=rngs)

    def condition(
        self,
        text: Tokens,
        image: Tokens | None = None,
        subject: Sequence[Video] = (),
        *,
        placement: Placement = ANYWHERE,
    ) -> Condition:
        """Prepare what does not change from step to step.

        Args:
            text: tokens of the prompt, [batch, token, cross_attention_dim].
            image: image-prompt tokens of all frames, [batch, frame · query, cross_attention_dim]; with APA only.
            subject: scaled VAE latents of the subject, one array for each of `hfa_levels`; the last one has the
                size of the noise. The others pass their projection, are resized to it and added (paper, HFA); as
                the projections start at zero, a model begins as the one-level model.
            placement: see `Placement`.
        """
        blocks = [*self.down_blocks, self.mid_block, *self.up_blocks]
        keys_values = tuple(
            placement.parameters(transformer.transformer_blocks[0].attn2).keys_values(text, image)
            for block in blocks
            for transformer in block.attentions
        )
        if not self.config.hfa_levels:
            return Condition(keys_values, None)
        *extra, merged = subject
        for latents, project in zip(extra, self.hfa_projections, strict=True):
            projected = placement.parameters(project)(latents)
            merged = merged + jax.image.resize(projected, merged.shape, "linear")
        return Condition(keys_values, merged)

    def __call__(
        self,
        sample: Video,
        timesteps: Int[Array, " batch"],
        condition: Condition,
        *,
        remat: bool = False,
        placement: Placement = ANYWHERE,
        dropout_keys: Keys | None = None,
    ) -> Video:
        """Denoise one step.

        Args:
            sample: noisy latents, [batch, frame, height, width, latent_channels]. Any frame count and size.
            timesteps: 0 … 999 for each clip.
            condition: from `condition`, of the same batch.
            remat: recompute each layer in the backward pass instead of keeping its activations.
            placement: see `Placement`.
            dropout_keys: one for each clip, for training; None: no dropout.

        Returns:
            The prediction, of the shape of `sample`.
        """
        run: Callable[..., Video] = partial(run_layer, placement)
        run = jax.checkpoint(run) if remat else run
        here, place = placement.parameters, placement.activations
        keys_values = iter(condition.keys_values)
        index = itertools.count()

        def run_block(block: Block, x: Video, skips: list[Video] | None = None, collect: list[Video] | None = None):
            for layer in block.layers():
                if skips is not None:
                    x = place(jnp.concatenate([x, skips.pop()], axis=-1))
                keys = None if dropout_keys is None else fold_in(dropout_keys, next(index))
                x = place(run(layer, x, time, next(keys_values) if layer.transformer is not None else (), keys))
                if collect is not None:
                    collect.append(x)
            return x

        x = sample
        if condition.subject is not None:
            x = jnp.concatenate([x, condition.subject.astype(x.dtype)], axis=-1)
        if self.config.center_input_sample:
            x = 2 * x - 1
        sinusoids = timestep_embedding(timesteps, self.config.block_out_channels[0])
        time = here(self.time_embedding)(sinusoids.astype(x.dtype))

        x = place(here(self.conv_in)(x))
        skips = [x]
        for block in self.down_blocks:
            x = run_block(block, x, collect=skips)
            for downsample in block.downsamplers:
                x = place(here(downsample)(x))
                skips.append(x)
        x = run_block(self.mid_block, x)
        for block in self.up_blocks:
            x = run_block(block, x, skips=skips)
            for upsample in block.upsamplers:
                # Sizes that are not divisible return to the size of the skip they meet next.
                x = place(here(upsample)(x, *skips[-1].shape[2:4]))
        return here(self.conv_out)(here(self.conv_norm_out)(x, silu=True))
