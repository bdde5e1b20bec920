"""The networks, as functions of parameters that are pure nested dicts."""

import functools

from magdiff_jax.config import Config
from magdiff_jax.models.clip_text import ClipText
from magdiff_jax.models.clip_vision import ClipVision
from magdiff_jax.models.configs import (
    ClipTextConfig,
    ResamplerConfig,
    UNetConfig,
    VAEConfig,
    VisionConfig,
)
from magdiff_jax.models.network import Component, Network, Params
from magdiff_jax.models.resampler import Resampler
from magdiff_jax.models.unet import Condition, UNet
from magdiff_jax.models.vae import VAE

__all__ = [
    "COMPONENTS",
    "VAE",
    "ClipText",
    "ClipTextConfig",
    "ClipVision",
    "Component",
    "Condition",
    "Network",
    "Params",
    "Resampler",
    "ResamplerConfig",
    "UNet",
    "UNetConfig",
    "VAEConfig",
    "VisionConfig",
    "build",
]

# The five networks of a MagDiff model, by the names under which they are stored and called.
COMPONENTS = {
    "unet": (UNet, UNetConfig),
    "vae": (VAE, VAEConfig),
    "text_encoder": (ClipText, ClipTextConfig),
    "vision": (ClipVision, VisionConfig),
    "resampler": (Resampler, ResamplerConfig),
}


@functools.cache
def build(name: str, config: Config, dtype: str = "float32") -> Network:
    """The network of a component, from its configuration; `dtype`: of the computation.

    Made once: a network never changes, and finding its shapes takes seconds at full size.
    """
    return Network(COMPONENTS[name][0], config, dtype)
