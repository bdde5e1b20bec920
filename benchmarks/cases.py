"""What is measured: networks of three sizes with cheap random weights and inputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.sampling import guide
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.models import VAE, UNet
from magdiff_jax.models.configs import UNetConfig, VAEConfig
from magdiff_jax.models.network import Network, Params, flatten, unflatten

TEXT_TOKENS = 77
IMAGE_TOKENS = 16
GUIDANCE = 7.5
TIMESTEP = 500


class Size(NamedTuple):
    """A U-Net, a VAE, and the clip they work on: frames, and latents each way."""

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
    """A function of `arguments`, the parameters or the state first, to be compiled and timed.

    With `goes_on` it returns (new first argument, result), and uses up the first argument that it was given.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    goes_on: bool = False


def random_params(network: Network) -> Params:
    """Values of the usual spread, from one repeated block: a billion of them in seconds, in one copy.

    Kernels have standard deviation 1/√fan_in, all else 0.1, around one (norms' scales) or zero.
    """
    block = np.random.default_rng(0).standard_normal(1_000_003, np.float32)

    def values(name: str | int, shape: tuple[int, ...]) -> jax.Array:
        array = np.resize(block, shape)
        array *= np.prod(shape[:-1]) ** -0.5 if name == "kernel" else 0.1
        array += name == "scale"
        return jnp.asarray(array, network.dtype)

    return unflatten((path, values(path[-1], leaf.shape)) for path, leaf in flatten(network.shapes))


def random_inputs(dtype: str, *shapes: tuple[int, ...]) -> tuple[jax.Array, ...]:
    rng = np.random.default_rng(1)
    return tuple(jnp.asarray(rng.standard_normal(shape, np.float32), dtype) for shape in shapes)


def clip_shapes(size: Size, batch: int) -> tuple[tuple[int, ...], ...]:
    """Of the noise, the text tokens, the image tokens of all frames and the subject's latents."""
    clip = (batch, size.frames, size.latent, size.latent, size.unet.latent_channels)
    dim = size.unet.cross_attention_dim
    return clip, (batch, TEXT_TOKENS, dim), (batch, IMAGE_TOKENS * size.frames, dim), clip


def unet_forward(size: Size, network: Network, params: Params) -> Case:
    """One clip through the U-Net, with the projection of its prompts' keys and values."""

    def forward(params: Params, noise: Any, text: Any, image: Any, subject: Any) -> Any:
        condition = network.apply(params, text, image, (subject,), method="condition")
        return network.apply(params, noise, jnp.full(len(noise), TIMESTEP), condition)

    return Case("U-Net forward", forward, (params, *random_inputs(network.dtype, *clip_shapes(size, 1))))


def guided_step(size: Size, network: Network, params: Params) -> Case:
    """One DDIM step of one clip: both branches of the guidance in one batch, their keys and values given."""
    noise, text, image, subject = random_inputs(network.dtype, *clip_shapes(size, 2))
    condition = jax.jit(network.apply, static_argnames="method")(params, text, image, (subject,), method="condition")
    config = ScheduleConfig()
    plan = make_steps(config, 25)

    def step(params: Params, condition: Any, latents: Any, numbers: Steps) -> Any:
        timesteps = jnp.full(2, numbers.timestep)
        prediction = network.apply(params, jnp.concatenate([latents, latents]), timesteps, condition)
        guided = guide(*jnp.split(prediction.astype(jnp.float32), 2), GUIDANCE)
        return ddim_step(latents, guided, numbers, jnp.zeros_like(latents), config.prediction_type)

    latents = noise[:1].astype(jnp.float32)
    return Case("guided DDIM step", step, (params, condition, latents, Steps(*(column[12] for column in plan))))


def vae_decode(size: Size, dtype: str) -> Case:
    """All frames of one clip, latents to pixels."""
    network = Network(VAE, size.vae, dtype)

    def decode(params: Params, latents: Any) -> Any:
        return network.apply(params, latents, method="decode")

    return Case("VAE decode", decode, (random_params(network), *random_inputs(dtype, clip_shapes(size, 1)[0])))


def unet(size: Size, dtype: str) -> tuple[Network, Params]:
    network = Network(UNet, size.unet, dtype)
    return network, random_params(network)
