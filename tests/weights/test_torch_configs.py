"""Configurations of diffusers, transformers and OpenCLIP: read in full or refused by name."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.errors import UserError
from magdiff_jax.models import ClipTextConfig, UNetConfig, VAEConfig
from magdiff_jax.weights import torch_configs
from tests.weights.checkpoints import RESAMPLER, TEXT, UNET, VAE, VISION, tensors

VISION_SHAPES = {name: array.shape for name, array in tensors("vision", VISION, prefix="visual.").items()}
RESAMPLER_SHAPES = {name: array.shape for name, array in tensors("resampler", RESAMPLER).items()}


def unet(values: dict[str, Any]) -> UNetConfig:
    return torch_configs.unet_config(values, "config.json", apa=True, hfa_levels=(64,))


def vae(values: dict[str, Any]) -> VAEConfig:
    return torch_configs.vae_config(values, "config.json")


def text(values: dict[str, Any]) -> ClipTextConfig:
    return torch_configs.text_config(values, "config.json")


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def schedule(values: dict[str, Any]) -> ScheduleConfig:
    return torch_configs.schedule_config(values, "config.json")


def test_there_and_back() -> None:
    assert unet(torch_configs.unet_values(UNET)) == UNET
    assert vae(torch_configs.vae_values(VAE)) == VAE
    assert text(torch_configs.text_values(TEXT)) == TEXT
    assert schedule(torch_configs.schedule_values(ScheduleConfig())) == ScheduleConfig()
    values = torch_configs.vision_values(VISION)
    assert torch_configs.vision_config(VISION_SHAPES, values, "config.json") == VISION
    assert torch_configs.resampler_config(RESAMPLER_SHAPES, RESAMPLER.to_dict(), "config.json") == RESAMPLER


def test_absent_settings_are_those_of_the_libraries() -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPTextConfig()
    assert all(getattr(theirs, key) == value for key, value in text({}).to_dict().items())
    assert schedule(BETAS) == ScheduleConfig()
    assert not unet({}).use_linear_projection
    assert unet({}).num_attention_heads == (8, 8, 8, 8)


def test_stable_diffusion_1() -> None:
    values = {"attention_head_dim": 8, "cross_attention_dim": 768, "block_out_channels": [320, 640, 1280, 1280]}
    config = unet(values)
    assert (config.num_attention_heads, config.use_linear_projection) == ((8, 8, 8, 8), False)
    assert text({"hidden_size": 768, "num_attention_heads": 12, "hidden_act": "quick_gelu"}).hidden_act == "quick_gelu"


@pytest.mark.parametrize(
    ("read", "values", "complaint"),
    [
        (unet, {"addition_embed_type": "text_time"}, "addition_embed_type = 'text_time' is not supported, None is"),
        (unet, {"transformer_layers_per_block": [1, 2, 10]}, "transformer_layers_per_block"),
        (unet, {"class_embed_type": "timestep"}, "class_embed_type"),
        (unet, {"only_cross_attention": True}, "only_cross_attention"),
        (unet, {"down_block_types": ["AttnDownBlock2D"] * 4}, "down_block_types"),
        (unet, {"block_out_channels": [320, 640, 1281, 1280]}, "block_out_channels"),
        (unet, {"block_out_channels": 320}, ""),
        (unet, {"down_block_types": [1, 2, 3, 4]}, ""),
        (unet, {"attention_head_dim": [5, 10]}, "num_attention_heads"),
        (unet, {"attention_head_dim": 0}, "num_attention_heads"),
        (unet, {"cross_attention_dim": "wide"}, "cross_attention_dim"),
        (unet, {"norm_num_groups": 0}, "norm_num_groups"),
        (vae, {"shift_factor": 0.1}, "shift_factor"),
        (vae, {"latents_mean": [0.1]}, "latents_mean"),
        (vae, {"scaling_factor": "x"}, ""),
        (text, {"hidden_act": "relu"}, "hidden_act"),
        (text, {"layer_norm_eps": 1e-6}, "layer_norm_eps"),
        (text, {"num_attention_heads": 7}, "num_attention_heads"),
        (text, {"model_type": "t5"}, "model_type = 't5' is not supported, 'clip_text_model' is"),
        (schedule, BETAS | {"prediction_type": "sample"}, "prediction_type"),
        (schedule, BETAS | {"clip_sample": True}, "clip_sample"),
        (schedule, BETAS | {"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule"),
        (schedule, BETAS | {"beta_start": None}, ""),
        (schedule, BETAS | {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "use_flow_sigmas"),
        (schedule, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, "'FlowMatchEulerDiscrete"),
        (schedule, {"_class_name": "DDIMScheduler"}, "beta_start, beta_end, beta_schedule: not there; take the whole"),
    ],
)
def test_what_we_do_not_compute_is_refused(
    read: Callable[[dict[str, Any]], object], values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=f"(?s)^config.json: .*{re.escape(complaint)}"):
        read(values)


@pytest.mark.parametrize(
    ("shapes", "open_clip", "complaint"),
    [
        ({}, {}, "holds no OpenCLIP vision tower"),
        (VISION_SHAPES, {}, "width 24 is none of OpenCLIP's"),
        (VISION_SHAPES, {"model_cfg": {"quick_gelu": True, "vision_cfg": {"head_width": 12}}}, "quick_gelu"),
        (VISION_SHAPES, {"model_cfg": {"vision_cfg": {"head_width": 0}}}, ""),
        (VISION_SHAPES, {"model_cfg": {"vision_cfg": {"head_width": 7}}}, "heads"),
        (VISION_SHAPES, {"model_cfg": 3}, ""),
        (
            VISION_SHAPES | {"visual.positional_embedding": (0, 3)},
            {"model_cfg": {"vision_cfg": {"head_width": 12}}},
            "",
        ),
    ],
)
def test_another_vision_tower_is_refused(shapes: dict, open_clip: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=f"^vision.bin: .*{complaint}"):
        torch_configs.vision_config(shapes, open_clip, "vision.bin")


@pytest.mark.parametrize("values", [{"dim_head": 0}, {"dim_head": "8"}, {"dim_head": 64}])
def test_impossible_heads_of_the_resampler_are_refused(values: dict) -> None:
    with pytest.raises(UserError, match=r"^resampler/config.json"):
        torch_configs.resampler_config(RESAMPLER_SHAPES, values, "resampler/config.json")
    with pytest.raises(UserError, match="holds no resampler"):
        torch_configs.resampler_config({}, {}, "resampler/config.json")
