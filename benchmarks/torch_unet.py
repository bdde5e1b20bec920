"""The same U-Net in PyTorch, put together from diffusers' blocks: a benchmark's opponent.

Inside, a clip's frames lie on the batch axis, [B*F, C, H, W] in channels-last memory. That makes
every other layout the network needs a view: [B, C, F, H, W] for statistics over a whole clip,
[B, C, F, H*W] for the temporal convolutions, [B*F, H*W, C] for the transformers.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional

TEXT_TOKENS = 77
MAX_FRAMES = 64
OUT_CHANNELS = 4


def clip_norm(norm: nn.GroupNorm, x: Tensor, frames: int) -> Tensor:
    """GroupNorm with the statistics of all frames of a clip together. x, result: [B*F, C, H, W]."""
    clips = x.unflatten(0, (-1, frames)).transpose(1, 2)
    return norm(clips).transpose(1, 2).flatten(0, 1)


def frame_embedding(channels: int) -> Tensor:
    """Sinusoids of the frame index (Vaswani et al. 2017), [MAX_FRAMES, C]; even channels: sine."""
    rates = 10000.0 ** (-torch.arange(0, channels, 2) / channels)
    angles = torch.arange(MAX_FRAMES)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class Resnet(ResnetBlock2D):
    """diffusers' resnet with its norms' statistics taken over the clip. [B*F, C, H, W].

    `emb` [B, D] comes activated.
    """

    def __init__(self, in_channels: int, out_channels: int, emb_channels: int, groups: int) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            temb_channels=emb_channels,
            groups=groups,
            eps=1e-5,
        )

    def forward(self, x: Tensor, emb: Tensor, frames: int) -> Tensor:
        hidden = self.conv1(functional.silu(clip_norm(self.norm1, x, frames), inplace=True))
        hidden.unflatten(0, (-1, frames)).add_(self.time_emb_proj(emb)[:, None, :, None, None])
        hidden = self.conv2(functional.silu(clip_norm(self.norm2, hidden, frames), inplace=True))
        hidden += x if self.conv_shortcut is None else self.conv_shortcut(x)
        return hidden


class TemporalConv(nn.Module):
    """Four times norm, SiLU, dropout, convolution over frames; a residual. [B*F, C, H, W].

    With one frame the identity.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(4):
            conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
            layers += [nn.GroupNorm(groups, channels), nn.SiLU(), nn.Dropout(0.1), conv]
        self.convs = nn.Sequential(*layers)
        nn.init.zeros_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        if frames == 1:
            return x
        # [B, C, F, H*W]: as a two-dimensional convolution it is faster on CPU than Conv3d.
        clips = x.flatten(2).unflatten(0, (-1, frames)).transpose(1, 2)
        hidden = clips
        for norm, _, dropout, conv in zip(*[iter(self.convs)] * 4, strict=True):
            hidden = dropout(functional.silu(norm(hidden), inplace=True))
            hidden = functional.conv2d(hidden, conv.weight.squeeze(-1), conv.bias, padding=(1, 0))
        hidden += clips
        return hidden.transpose(1, 2).flatten(0, 1).unflatten(2, x.shape[2:])


class MultiHeadAttention(Attention):
    """diffusers' projections and the split into heads. Tokens are [N, T, C]."""

    def split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        heads = functional.scaled_dot_product_attention(queries, self.split_heads(keys), self.split_heads(values))
        return heads.transpose(1, 2).flatten(2)


class SelfAttention(MultiHeadAttention):
    def forward(self, x: Tensor) -> Tensor:
        queries = self.split_heads(self.to_q(x))
        return self.to_out[0](self.attend(queries, self.to_k(x), self.to_v(x)))


class TextAttention(MultiHeadAttention):
    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        queries = self.split_heads(self.to_q(x))
        return self.to_out[0](self.attend(queries, self.to_k(text), self.to_v(text)))


class PromptAttention(MultiHeadAttention):
    """Adaptive prompts alignment: text and image attended to apart, the results mixed."""

    def __init__(self, query_dim: int, cross_attention_dim: int, heads: int, dim_head: int) -> None:
        super().__init__(query_dim, cross_attention_dim, heads, dim_head=dim_head)
        self.to_k_ip = nn.Linear(cross_attention_dim, query_dim, bias=False)
        self.to_v_ip = nn.Linear(cross_attention_dim, query_dim, bias=False)
        self.text_cross_attention_scale = nn.Parameter(torch.tensor([1.0]))
        self.image_cross_attention_scale = nn.Parameter(torch.tensor([1.5]))

    def forward(self, x: Tensor, text: Tensor, image: Tensor) -> Tensor:
        queries = self.split_heads(self.to_q(x))
        text = self.attend(queries, self.to_k(text), self.to_v(text))
        image = self.attend(queries, self.to_k_ip(image), self.to_v_ip(image))
        mixed = self.text_cross_attention_scale * text + self.image_cross_attention_scale * image
        return self.to_out[0](mixed)


class TemporalAttention(MultiHeadAttention):
    """Attention over the frames of each position. x, result: [B, F, T, C]."""

    def forward(self, x: Tensor) -> Tensor:
        # [B, T, heads, F, C/heads]. For so few frames plain products beat fused attention on CPU.
        queries, keys, values = (
            self.split_heads(project(x).transpose(1, 2)) for project in (self.to_q, self.to_k, self.to_v)
        )
        weights = torch.softmax(queries * self.scale @ keys.transpose(-1, -2), -1)
        return self.to_out[0]((weights @ values).permute(0, 3, 1, 2, 4).flatten(3))


class TransformerBlock(nn.Module):
    """Self-, cross- and temporal attention and feed-forward, each with a residual. [B*F, T, C]."""

    def __init__(self, channels: int, heads: int, config: Mapping[str, Any], apa: bool) -> None:
        super().__init__()
        dim_head = channels // heads
        cross_attention = PromptAttention if apa else TextAttention
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = SelfAttention(channels, None, heads, dim_head=dim_head)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = cross_attention(channels, config["cross_attention_dim"], heads, dim_head=dim_head)
        self.temp_norm = nn.LayerNorm(channels)
        self.temp_attn = TemporalAttention(channels, None, heads, dim_head=dim_head)
        nn.init.zeros_(self.temp_attn.to_out[0].weight)
        nn.init.zeros_(self.temp_attn.to_out[0].bias)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")
        embedding = frame_embedding(channels) if config["add_temp_embed"] else None
        self.register_buffer("frame_embedding", embedding, persistent=False)

    def forward(self, x: Tensor, context: tuple[Tensor, ...], frames: int) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        # All frames share the context, so that a clip's frames can be one long run of queries.
        clips = x.unflatten(0, (-1, frames)).flatten(1, 2)
        clips = clips + self.attn2(self.norm2(clips), *context)
        clips = clips.unflatten(1, (frames, -1))
        if self.frame_embedding is not None:
            clips += self.frame_embedding[:frames, None]
        if frames > 1:
            clips = clips + self.temp_attn(self.temp_norm(clips))
        x = clips.flatten(0, 1)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """GroupNorm frame by frame, projection, transformer block, projection. [B*F, C, H, W]."""

    def __init__(self, channels: int, heads: int, config: Mapping[str, Any], apa: bool) -> None:
        super().__init__()
        self.linear = config["use_linear_projection"]
        self.norm = nn.GroupNorm(config["norm_num_groups"], channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels) if self.linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, heads, config, apa)])
        self.proj_out = nn.Linear(channels, channels) if self.linear else nn.Conv2d(channels, channels, 1)

    def project(self, projection: nn.Module, tokens: Tensor) -> Tensor:
        return functional.linear(tokens, projection.weight.flatten(1), projection.bias)

    def forward(self, x: Tensor, context: tuple[Tensor, ...], frames: int) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        tokens = self.project(self.proj_in, tokens)
        tokens = self.transformer_blocks[0](tokens, context, frames)
        tokens = self.project(self.proj_out, tokens)
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:]) + x


class Block(nn.Module):
    """One level: layers of resnet, temporal convolution and (unless `heads` is None) transformer.

    `sampler`: "down", "up" or None. `widths`: (in, out) channels of each resnet.
    """

    def __init__(
        self,
        widths: list[tuple[int, int]],
        heads: int | None,
        sampler: str | None,
        config: Mapping[str, Any],
        apa: bool,
    ) -> None:
        super().__init__()
        groups, channels = config["norm_num_groups"], widths[-1][1]
        emb_channels = 4 * config["block_out_channels"][0]
        self.resnets = nn.ModuleList([Resnet(*width, emb_channels, groups) for width in widths])
        if config["add_temp_conv"]:
            self.temp_convs = nn.ModuleList([TemporalConv(channels, groups) for _ in widths])
        if heads is not None:
            self.attentions = nn.ModuleList([Transformer(channels, heads, config, apa) for _ in widths])
        if sampler == "down":
            self.downsamplers = nn.ModuleList([Downsample2D(channels, use_conv=True, name="op")])
        if sampler == "up":
            self.upsamplers = nn.ModuleList([Upsample2D(channels, use_conv=True)])

    def resnet(self, layer: int, x: Tensor, emb: Tensor, frames: int) -> Tensor:
        x = self.resnets[layer](x, emb, frames)
        return self.temp_convs[layer](x, frames) if hasattr(self, "temp_convs") else x

    def layer(self, layer: int, x: Tensor, emb: Tensor, context: tuple[Tensor, ...], frames: int) -> Tensor:
        x = self.resnet(layer, x, emb, frames)
        return self.attentions[layer](x, context, frames) if hasattr(self, "attentions") else x


class TorchUNet(nn.Module):
    """MagDiff's U-Net (`apa=True`) or VidRD's, with the released code's parameter names.

    `config` has block_out_channels, down_block_types, up_block_types, layers_per_block,
    attention_head_dim (the number of heads, one for all levels or one a level),
    use_linear_projection, center_input_sample, norm_num_groups, cross_attention_dim,
    add_temp_embed, add_temp_conv and in_channels.
    """

    def __init__(self, config: Mapping[str, Any], apa: bool) -> None:
        super().__init__()
        self.center_input_sample = config["center_input_sample"]
        self.apa = apa
        widths, depth, heads = (config[key] for key in ("block_out_channels", "layers_per_block", "attention_head_dim"))
        heads = [heads] * len(widths) if isinstance(heads, int) else heads
        last = len(widths) - 1

        self.conv_in = nn.Conv2d(config["in_channels"], widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(widths[0], 4 * widths[0])

        skips = [widths[0]]
        self.down_blocks = nn.ModuleList()
        for level, (kind, width) in enumerate(zip(config["down_block_types"], widths, strict=True)):
            layers = [(skips[-1], width)] + [(width, width)] * (depth - 1)
            sampler = "down" if level < last else None
            skips += [width] * (depth + (sampler is not None))
            crossed = heads[level] if kind.startswith("CrossAttn") else None
            self.down_blocks.append(Block(layers, crossed, sampler, config, apa))

        self.mid_block = Block([(widths[-1], widths[-1])] * 2, heads[-1], None, config, apa)
        del self.mid_block.attentions[1]  # two resnets around one transformer

        self.up_blocks = nn.ModuleList()
        below = widths[-1]
        for level, kind in zip(range(last, -1, -1), config["up_block_types"], strict=True):
            layers = []
            for _ in range(depth + 1):
                layers.append((below + skips.pop(), widths[level]))
                below = widths[level]
            crossed = heads[level] if kind.startswith("CrossAttn") else None
            self.up_blocks.append(Block(layers, crossed, "up" if level else None, config, apa))

        self.conv_norm_out = nn.GroupNorm(config["norm_num_groups"], widths[0])
        self.conv_out = nn.Conv2d(widths[0], OUT_CHANNELS, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
            elif isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)

    def forward(self, sample: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        """sample [B, C, F, H, W], timestep [B], context [B, S, D] -> prediction [B, 4, F, H, W]."""
        frames = sample.shape[2]
        emb = functional.silu(self.time_embedding(self.time_proj(timestep).to(sample.dtype)))
        x = sample.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        prompts = (context,)
        if self.apa:
            # Parts of a batch are not contiguous: copied once here, not by every projection.
            text, image = context[:, :TEXT_TOKENS], context[:, TEXT_TOKENS:]
            prompts = (text.contiguous(), image.contiguous())
        x = self.conv_in(2 * x - 1 if self.center_input_sample else x)

        skips = [x]
        for block in self.down_blocks:
            for layer in range(len(block.resnets)):
                x = block.layer(layer, x, emb, prompts, frames)
                skips.append(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                skips.append(x)

        x = self.mid_block.layer(0, x, emb, prompts, frames)
        x = self.mid_block.resnet(1, x, emb, frames)

        for block in self.up_blocks:
            for layer in range(len(block.resnets)):
                x = block.layer(layer, torch.cat([x, skips.pop()], 1), emb, prompts, frames)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x, tuple(skips[-1].shape[2:]))

        x = self.conv_out(functional.silu(clip_norm(self.conv_norm_out, x, frames), inplace=True))
        return x.unflatten(0, (-1, frames)).transpose(1, 2)
