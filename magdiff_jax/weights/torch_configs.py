"""Configurations as PyTorch's world has them ⇄ ours.

What our networks do not compute is refused: a setting that changes the mathematics is never passed over.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from magdiff_jax.config import Config, ConfigError
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.errors import UserError
from magdiff_jax.models import (
    ClipTextConfig,
    ResamplerConfig,
    UNetConfig,
    VAEConfig,
    VisionConfig,
)

Values = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]

# Settings that we have one form of, with the values that mean it.
UNET_FIXED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu",),
    "addition_embed_type": (None,),
    "attention_type": ("default",),
    "class_embed_type": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_only_cross_attention": (None, False),
    "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn", "UNetMidBlock3DCrossAttn"),
    "norm_eps": (1e-5,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_out_scale_factor": (1,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "time_cond_proj_dim": (None,),
    "time_embedding_act_fn": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
    "transformer_layers_per_block": (1,),
}
VAE_FIXED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu",),
    "latents_mean": (None,),
    "latents_std": (None,),
    "mid_block_add_attention": (True,),
    "shift_factor": (None,),
    "use_post_quant_conv": (True,),
    "use_quant_conv": (True,),
}
TEXT_FIXED: dict[str, tuple[Any, ...]] = {"layer_norm_eps": (1e-5,), "model_type": ("clip_text_model",)}
VISION_FIXED: dict[str, tuple[Any, ...]] = {"quick_gelu": (False,)}
SCHEDULE_FIXED: dict[str, tuple[Any, ...]] = {
    # Samplers of one and the same training: noise in steps of given variance.
    "_class_name": (
        "DDIMScheduler",
        "PNDMScheduler",
        "DDPMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
        "UniPCMultistepScheduler",
    ),
    "clip_sample": (False,),
    "thresholding": (False,),
    "trained_betas": (None,),
    "use_flow_sigmas": (False,),
}
# Without these a file does not say what a model was trained with.
SCHEDULE_NEEDED = ("beta_start", "beta_end", "beta_schedule")

# What diffusers and transformers take for settings that a file does not have, where our defaults differ.
UNET_DEFAULTS: dict[str, Any] = {"use_linear_projection": False, "cross_attention_dim": 1280, "attention_head_dim": 8}
VAE_DEFAULTS: dict[str, Any] = {"block_out_channels": [64], "layers_per_block": 1}
TEXT_DEFAULTS: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "hidden_act": "quick_gelu",
}

# OpenCLIP's published widths → heads, which a checkpoint's tensors do not tell.
VISION_HEADS = {768: 12, 1024: 16, 1280: 16, 1408: 16, 1664: 16}
RESAMPLER_DIM_HEAD = 64


def unet_config(values: Values, where: str, *, apa: bool, hfa_levels: tuple[int, ...]) -> UNetConfig:
    """From the `config.json` of a Stable Diffusion or VidRD U-Net."""
    with _complaints(where):
        values = UNET_DEFAULTS | _checked(values, UNET_FIXED)
        ours = _common(values, UNetConfig)
        for key in ("down_block_types", "up_block_types"):
            if key in ours:
                ours[key] = [kind.replace("2D", "3D") for kind in ours[key]]
        # Stable Diffusion's name is a known misnomer: the setting counts heads.
        heads = values["attention_head_dim"]
        levels = len(ours.get("block_out_channels", UNetConfig.block_out_channels))
        ours["num_attention_heads"] = heads if isinstance(heads, list) else [heads] * levels
        ours["latent_channels"] = values.get("out_channels", UNetConfig.latent_channels)
        return UNetConfig.from_dict({**ours, "apa": apa, "hfa_levels": list(hfa_levels)})


def unet_values(config: UNetConfig) -> dict[str, Any]:
    """The inverse of `unet_config`, as VidRD writes it."""
    values = config.to_dict()
    values["attention_head_dim"] = values.pop("num_attention_heads")
    values["out_channels"] = values.pop("latent_channels")
    values["in_channels"] = config.in_channels
    return {key: value for key, value in values.items() if key not in ("apa", "hfa_levels")}


def vae_config(values: Values, where: str) -> VAEConfig:
    """From the `config.json` of an AutoencoderKL."""
    with _complaints(where):
        return VAEConfig.from_dict(_common(VAE_DEFAULTS | _checked(values, VAE_FIXED), VAEConfig))


def vae_values(config: VAEConfig) -> dict[str, Any]:
    """The inverse of `vae_config`."""
    levels = len(config.block_out_channels)
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels}
    return {"_class_name": "AutoencoderKL", **config.to_dict(), **kinds}


def text_config(values: Values, where: str) -> ClipTextConfig:
    """From the `config.json` of a CLIPTextModel."""
    with _complaints(where):
        return ClipTextConfig.from_dict(_common(TEXT_DEFAULTS | _checked(values, TEXT_FIXED), ClipTextConfig))


def text_values(config: ClipTextConfig) -> dict[str, Any]:
    """The inverse of `text_config`."""
    return {"model_type": "clip_text_model", "architectures": ["CLIPTextModel"], **config.to_dict()}


def vision_config(shapes: Shapes, open_clip: Values, where: str, *, bgr: bool = False) -> VisionConfig:
    """From the tensors of an OpenCLIP vision tower and its `open_clip_config.json` (empty where there is none)."""
    try:
        width, _, patch_size, _ = shapes["visual.conv1.weight"]
        tokens, output_dim = shapes["visual.positional_embedding"][0], shapes["visual.proj"][1]
        hidden = shapes["visual.transformer.resblocks.0.mlp.c_fc.weight"][0]
    except (KeyError, ValueError, IndexError):
        raise UserError(f"{where}: holds no OpenCLIP vision tower (visual.conv1, visual.proj, …)") from None
    with _complaints(where):
        model = _checked(open_clip.get("model_cfg", {}), VISION_FIXED)
        head_width = model.get("vision_cfg", {}).get("head_width")
        heads = VISION_HEADS.get(width) if head_width is None else _divided(width, head_width)
        if heads is None:
            raise ConfigError(f"width {width} is none of OpenCLIP's; put its open_clip_config.json beside the file")
        return VisionConfig.from_dict(
            {
                "image_size": math.isqrt(tokens - 1) * patch_size,
                "patch_size": patch_size,
                "width": width,
                "layers": _count(shapes, r"visual\.transformer\.resblocks\.(\d+)\."),
                "heads": heads,
                "mlp_ratio": hidden / width,
                "output_dim": output_dim,
                "bgr": bgr,
            }
        )


def vision_values(config: VisionConfig) -> dict[str, Any]:
    """The `open_clip_config.json` from which `vision_config` finds the same again."""
    keys = ("image_size", "patch_size", "width", "layers", "mlp_ratio")
    tower = {**{key: getattr(config, key) for key in keys}, "head_width": config.width // config.heads}
    return {"model_cfg": {"embed_dim": config.output_dim, "vision_cfg": tower}}


def resampler_config(shapes: Shapes, values: Values, where: str) -> ResamplerConfig:
    """From the resampler's tensors; heads are 64 wide, as in the released code, where `values` do not say otherwise."""
    try:
        _, queries, dim = shapes["latents"]
        inner, hidden = shapes["layers.0.0.to_q.weight"][0], shapes["layers.0.1.1.weight"][0]
        output_dim, embedding_dim = shapes["proj_out.weight"][0], shapes["proj_in.weight"][1]
    except (KeyError, ValueError, IndexError):
        raise UserError(f"{where}: holds no resampler (latents, proj_in, layers, …)") from None
    with _complaints(where):
        dim_head = values.get("dim_head", min(RESAMPLER_DIM_HEAD, inner))
        return ResamplerConfig.from_dict(
            {
                "dim": dim,
                "depth": _count(shapes, r"layers\.(\d+)\."),
                "dim_head": dim_head,
                "heads": _divided(inner, dim_head),
                "num_queries": queries,
                "embedding_dim": embedding_dim,
                "output_dim": output_dim,
                "ff_mult": hidden // dim,
            }
        )


def schedule_config(values: Values, where: str) -> ScheduleConfig:
    """From a `scheduler_config.json`, whichever sampler of `SCHEDULE_FIXED` it names.

    Absent settings other than `SCHEDULE_NEEDED` are Stable Diffusion's.
    """
    with _complaints(where):
        ours = _common(_checked(values, SCHEDULE_FIXED), ScheduleConfig)
        if missing := [key for key in SCHEDULE_NEEDED if key not in ours]:
            raise ConfigError(f"{', '.join(missing)}: not there; take the whole scheduler_config.json of the model")
        return ScheduleConfig.from_dict({**ours, "zero_terminal_snr": values.get("rescale_betas_zero_snr", False)})


def schedule_values(config: ScheduleConfig) -> dict[str, Any]:
    """The inverse of `schedule_config`, for diffusers' DDIMScheduler."""
    values = config.to_dict()
    values["rescale_betas_zero_snr"] = values.pop("zero_terminal_snr")
    return {"_class_name": "DDIMScheduler", **values, "clip_sample": False}


@contextmanager
def _complaints(where: str) -> Iterator[None]:
    """Says in which file impossible settings, or settings of another type, are."""
    try:
        yield
    except (ConfigError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise UserError(f"{where}: {error}") from None


def _checked(values: Values, fixed: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    for key, allowed in fixed.items():
        if key in values and values[key] not in allowed:
            raise ConfigError(f"{key} = {values[key]!r} is not supported, {allowed[0]!r} is")
    return dict(values)


def _common(values: Values, config: type[Config]) -> dict[str, Any]:
    names = config.__dataclass_fields__
    return {key: value for key, value in values.items() if key in names}


def _divided(width: int, head_width: int) -> int:
    heads, rest = divmod(width, head_width)
    if rest:
        raise ConfigError(f"width {width} is not made of heads of width {head_width}")
    return heads


def _count(shapes: Shapes, pattern: str) -> int:
    return 1 + max(int(match[1]) for name in shapes if (match := re.match(pattern, name)))
