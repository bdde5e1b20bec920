"""Configurations of the networks: what they refuse, derive and stand for."""

import json
import math
from typing import Any

import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.models import COMPONENTS, ClipTextConfig, ResamplerConfig, UNetConfig, VAEConfig, VisionConfig, build
from magdiff_jax.models.network import flatten

IMPOSSIBLE: list[tuple[type, dict[str, Any]]] = [
    (UNetConfig, {"block_out_channels": [320, 640, 1280, 1281]}),
    (UNetConfig, {"layers_per_block": 0}),
    (UNetConfig, {"num_attention_heads": [5, 10, 20]}),
    (UNetConfig, {"num_attention_heads": [5, 10, 20, 21]}),
    (UNetConfig, {"down_block_types": ["DownBlock2D"] * 4}),
    (UNetConfig, {"up_block_types": ["UpBlock3D"] * 3}),
    (UNetConfig, {"hfa_levels": [256, 384]}),
    (UNetConfig, {"hfa_levels": [256, 256]}),
    (UNetConfig, {"hfa_levels": [0]}),
    (UNetConfig, {"cross_attention_dims": 1024}),
    (VAEConfig, {"block_out_channels": [100]}),
    (VAEConfig, {"scaling_factor": 0.0}),
    (ClipTextConfig, {"num_attention_heads": 3}),
    (ClipTextConfig, {"hidden_act": "relu"}),
    (VisionConfig, {"patch_size": 15}),
    (VisionConfig, {"heads": 7}),
    (VisionConfig, {"mlp_ratio": 0.0}),
    (ResamplerConfig, {"depth": True}),
]


@pytest.mark.parametrize(("config", "values"), IMPOSSIBLE)
def test_impossible_configurations_are_refused_by_name(config: Any, values: dict[str, Any]) -> None:
    (key,) = values
    with pytest.raises(ConfigError, match=key):
        config.from_dict(values)


@pytest.mark.parametrize("name", COMPONENTS)
def test_configurations_travel_as_json(name: str) -> None:
    config = COMPONENTS[name][1]()
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_follows_from_a_configuration() -> None:
    assert UNetConfig().in_channels == 8
    assert UNetConfig(hfa_levels=()).in_channels == 4
    assert VAEConfig().downscale == 8
    assert VisionConfig().num_tokens == 257


def test_the_default_unet_has_the_size_of_the_released_one() -> None:
    shapes = build("unet", UNetConfig()).shapes
    assert sum(math.prod(leaf.shape) for _, leaf in flatten(shapes)) == 1_207_971_876
