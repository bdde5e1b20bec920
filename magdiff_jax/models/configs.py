"""What each network is made of: frozen records that check themselves and travel as JSON.

The field names are those of the Stable Diffusion folders where they say what they mean; where they do not
(`attention_head_dim`, which counts heads), the field has the honest name and `weights/torch_configs.py` translates.
"""

import dataclasses

from magdiff_jax.config import Config

DOWN_BLOCKS = ("CrossAttnDownBlock3D", "DownBlock3D")
UP_BLOCKS = ("CrossAttnUpBlock3D", "UpBlock3D")
ACTIVATIONS = ("gelu", "quick_gelu")


def _grouped(config: "UNetConfig | VAEConfig") -> bool:
    return all(channels % config.norm_num_groups == 0 for channels in config.block_out_channels)


@dataclasses.dataclass(frozen=True)
class UNetConfig(Config):
    """The 3-D U-Net. The defaults are MagDiff on Stable Diffusion 2.1 (1,207,971,876 parameters).

    Attributes:
        latent_channels: channels of the noisy latents, and of the prediction.
        block_out_channels: width of each level, outermost first.
        down_block_types, up_block_types: per level (up: innermost first), with cross-attention or without.
        layers_per_block: resnets a level on the way down; one more on the way up.
        num_attention_heads: heads of each level, outermost first.
        cross_attention_dim: width of the prompt tokens.
        use_linear_projection: how PyTorch stores the transformers' `proj_in`/`proj_out`: linear (SD 2.x) or as
            1x1 convolutions (SD 1.x). The mathematics is the same.
        norm_num_groups: groups of every GroupNorm.
        center_input_sample: map the input from [0, 1] to [-1, 1] first.
        add_temp_embed: add the sinusoidal embedding of the frame index before temporal attention.
        add_temp_conv: temporal convolutions after the resnets.
        apa: adaptive prompts alignment: image-prompt tokens in every cross-attention.
        hfa_levels: high-fidelity alignment: pixel sizes at which the subject is encoded, the last one being
            the size of the noisy latents' video. Empty: no HFA. (256,): the released code.
    """

    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    down_block_types: tuple[str, ...] = (DOWN_BLOCKS[0],) * 3 + (DOWN_BLOCKS[1],)
    up_block_types: tuple[str, ...] = (UP_BLOCKS[1],) + (UP_BLOCKS[0],) * 3
    layers_per_block: int = 2
    num_attention_heads: tuple[int, ...] = (5, 10, 20, 20)
    cross_attention_dim: int = 1024
    use_linear_projection: bool = True
    norm_num_groups: int = 32
    center_input_sample: bool = False
    add_temp_embed: bool = True
    add_temp_conv: bool = True
    apa: bool = True
    hfa_levels: tuple[int, ...] = (256,)

    def __post_init__(self) -> None:
        self._require_positive(
            "latent_channels",
            "block_out_channels",
            "layers_per_block",
            "num_attention_heads",
            "cross_attention_dim",
            "norm_num_groups",
            "hfa_levels",
        )
        self._require("block_out_channels", _grouped(self), "multiples of norm_num_groups")
        levels = len(self.block_out_channels)
        for key in ("down_block_types", "up_block_types", "num_attention_heads"):
            self._require(key, len(getattr(self, key)) == levels, f"{levels} long, as block_out_channels is")
        self._require("down_block_types", set(self.down_block_types) <= set(DOWN_BLOCKS), f"among {DOWN_BLOCKS}")
        self._require("up_block_types", set(self.up_block_types) <= set(UP_BLOCKS), f"among {UP_BLOCKS}")
        for channels, heads in zip(self.block_out_channels, self.num_attention_heads, strict=True):
            self._require("num_attention_heads", channels % heads == 0, f"divisors of {self.block_out_channels}")
        descending = sorted(set(self.hfa_levels), reverse=True)
        self._require("hfa_levels", list(self.hfa_levels) == descending, "different sizes, largest first")

    @property
    def in_channels(self) -> int:
        """Channels of `conv_in`: the noisy latents, and beside them the subject's where HFA is on."""
        return self.latent_channels * (2 if self.hfa_levels else 1)


@dataclasses.dataclass(frozen=True)
class VAEConfig(Config):
    """AutoencoderKL; with `add_temp_conv` the decoder is VidRD's temporal one.

    `scaling_factor` is applied outside the network, between its latents and the U-Net's.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    add_temp_conv: bool = False

    def __post_init__(self) -> None:
        self._require_positive(
            "in_channels",
            "out_channels",
            "latent_channels",
            "block_out_channels",
            "layers_per_block",
            "norm_num_groups",
        )
        self._require("block_out_channels", _grouped(self), "multiples of norm_num_groups")
        self._require("scaling_factor", self.scaling_factor > 0, "positive")

    @property
    def downscale(self) -> int:
        """Pixels per latent, each way."""
        return 2 ** (len(self.block_out_channels) - 1)


@dataclasses.dataclass(frozen=True)
class ClipTextConfig(Config):
    """CLIP's text tower. The defaults are Stable Diffusion 2.1's (OpenCLIP ViT-H, one layer short)."""

    vocab_size: int = 49408
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 23
    num_attention_heads: int = 16
    max_position_embeddings: int = 77
    hidden_act: str = "gelu"

    def __post_init__(self) -> None:
        self._require_positive(
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "max_position_embeddings",
        )
        divides = self.hidden_size % self.num_attention_heads == 0
        self._require("num_attention_heads", divides, "a divisor of hidden_size")
        self._require("hidden_act", self.hidden_act in ACTIVATIONS, f"one of {ACTIVATIONS}")


@dataclasses.dataclass(frozen=True)
class VisionConfig(Config):
    """OpenCLIP's vision tower. The defaults are ViT-H/14's.

    `bgr`: swap the colour channels first, for models trained on images as OpenCV reads them.
    """

    image_size: int = 224
    patch_size: int = 14
    width: int = 1280
    layers: int = 32
    heads: int = 16
    mlp_ratio: float = 4.0
    output_dim: int = 1024
    bgr: bool = False

    def __post_init__(self) -> None:
        self._require_positive("image_size", "patch_size", "width", "layers", "heads", "output_dim")
        self._require("heads", self.width % self.heads == 0, "a divisor of width")
        self._require("patch_size", self.image_size % self.patch_size == 0, "a divisor of image_size")
        self._require("mlp_ratio", self.mlp_ratio > 0, "positive")

    @property
    def num_tokens(self) -> int:
        """The class token and one for each patch."""
        return 1 + (self.image_size // self.patch_size) ** 2


@dataclasses.dataclass(frozen=True)
class ResamplerConfig(Config):
    """The image-prompt resampler: vision tokens in, `num_queries` prompt tokens out."""

    dim: int = 1024
    depth: int = 4
    dim_head: int = 64
    heads: int = 12
    num_queries: int = 16
    embedding_dim: int = 1280
    output_dim: int = 1024
    ff_mult: int = 4

    def __post_init__(self) -> None:
        self._require_positive(*(field.name for field in dataclasses.fields(self)))
