"""What is measured: networks of three sizes, cheap random weights and inputs, and PyTorch's U-Net with the same."""

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.sampling import guide
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.models import build
from magdiff_jax.models.configs import UNetConfig, VAEConfig
from magdiff_jax.models.network import Network, Params
from magdiff_jax.weights.table import flatten, table, unflatten

TEXT_TOKENS = 77
IMAGE_TOKENS = 16
GUIDANCE = 7.5
TIMESTEP = 500


class Size(NamedTuple):
    """A U-Net and a VAE, and the clip they work on."""

    unet: UNetConfig
    vae: VAEConfig
    frames: int
    latent: int


SIZES = {
    "tiny": Size(
        UNetConfig(
            block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            num_attention_heads=(1, 2),
        ),
        VAEConfig(block_out_channels=(32, 64)),
        frames=4,
        latent=16,
    ),
    "small": Size(
        UNetConfig(block_out_channels=(64, 128, 256, 256), num_attention_heads=(1, 2, 4, 4)),
        VAEConfig(block_out_channels=(32, 64, 128, 128)),
        frames=8,
        latent=16,
    ),
    "full": Size(UNetConfig(), VAEConfig(), frames=8, latent=32),
}


class Case(NamedTuple):
    """A function of (params, *inputs) to compile and time."""

    name: str
    function: Callable[..., Any]
    params: Params
    inputs: tuple[Any, ...]


def random_params(network: Network) -> Params:
    """Values of the usual spread, by repeating one block: a billion of them in seconds.

    Kernels have standard deviation 1/√fan_in, the rest 0.1 around the norms' ones and the biases' zeros.
    """
    block = np.random.default_rng(0).standard_normal(1_000_003, np.float32)

    def values(key: Any, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
        array = np.resize(block, shape)
        if key == "kernel":
            array *= np.prod(shape[:-1]) ** -0.5
        else:
            array *= 0.1
            array += key == "scale"
        return array

    return unflatten((path, values(path[-1], leaf.shape)) for path, leaf in flatten(network.shapes))


def cast(tree: Any, dtype: str) -> Any:
    """Put arrays on the device; on a CPU float32 arrays stay where they are."""
    return jax.tree.map(lambda a: jax.numpy.asarray(a, dtype if a.dtype == np.float32 else a.dtype), tree)


def unet_inputs(size: Size, batch: int) -> tuple[np.ndarray, ...]:
    """Noise, text tokens, image tokens of all frames and subject latents, float32."""
    rng = np.random.default_rng(1)
    clip = (batch, size.frames, size.latent, size.latent, 4)
    dim = size.unet.cross_attention_dim
    shapes = clip, (batch, TEXT_TOKENS, dim), (batch, IMAGE_TOKENS * size.frames, dim), clip
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def unet_forward(network: Network) -> Callable[..., Any]:
    """(params, noise, text, image, subject) → prediction, keys and values of the prompts included."""

    def forward(params: Params, noise: Any, text: Any, image: Any, subject: Any) -> Any:
        condition = network.apply(params, text, image, (subject,), method="condition")
        timesteps = jax.numpy.full(noise.shape[0], TIMESTEP)
        return network.apply(params, noise, timesteps, condition)

    return forward


def ddim(network: Network) -> Callable[..., Any]:
    """(params, latents, step, condition of both branches) → latents after a guided step; two branches as one batch."""

    def step(params: Params, latents: Any, numbers: Steps, condition: Any) -> Any:
        both = jax.numpy.concatenate([latents, latents])
        timesteps = jax.numpy.full(both.shape[0], numbers.timestep)
        unconditional, conditional = jax.numpy.split(network.apply(params, both, timesteps, condition), 2)
        prediction = guide(unconditional, conditional, GUIDANCE)
        return ddim_step(latents, prediction, numbers, jax.numpy.zeros_like(latents), "v_prediction")

    return step
