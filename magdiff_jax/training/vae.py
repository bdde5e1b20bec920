"""The VAE's objective, for models that start from nothing."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, UInt8, UInt32

from magdiff_jax.conditioning import draw_latents, to_pixels
from magdiff_jax.diffusion import noise
from magdiff_jax.models import Network
from magdiff_jax.models.unet import Placement
from magdiff_jax.sharding.leaves import Leaves, to_params
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.training.diffusion import Inputs, Losses, example_keys

LATENTS = 0


class Pictures(NamedTuple):
    """A batch's frames and, where it has some at the same size, its subjects' cut-outs, which HFA will encode."""

    images: UInt8[Array, "batch image height width 3"]
    positions: UInt32[Array, "batch 2"]


class Autoencoding:
    """Squared error of the decoded pictures plus a little of the Kullback-Leibler divergence between the posterior and
    the standard normal (Rombach et al. 2022, section 3.1 and appendix G, and its released code, without the perceptual
    and adversarial terms).
    """

    trained = ("vae",)

    def __init__(self, config: TrainConfig, networks: Mapping[str, Network], placement: Placement):
        self._network = networks["vae"]
        self._placement = placement
        self._kl_weight = config.kl_weight

    def encode(self, frozen: Leaves, inputs: Inputs) -> Pictures:
        """Nothing is frozen that the VAE needs: the pictures themselves."""
        same_size = [level for level in inputs.subjects if level.shape[2:] == inputs.frames.shape[2:]]
        return Pictures(jnp.concatenate([inputs.frames, *same_size], axis=1), inputs.positions)

    def losses(
        self, params: Leaves, encoded: Pictures, constants: Any, seed: UInt32[Array, "2"], training: bool
    ) -> tuple[Losses, dict[str, Array]]:
        """Each example's loss, and the mean squared error and the divergence alone."""
        vae = self._placement.parameters(to_params("vae", params))
        batch, count = encoded.images.shape[:2]
        pixels = to_pixels(encoded.images)
        flat = pixels.reshape(batch * count, *pixels.shape[2:])
        mean, log_variance = self._network.apply(vae, flat, method="encode")
        keys = example_keys(seed, encoded.positions)
        drawn = noise.normal(keys, LATENTS, (count, *mean.shape[1:])).reshape(mean.shape)
        latents = draw_latents(mean, log_variance, drawn, 1.0).reshape(batch, count, *mean.shape[1:])
        decoded = self._network.apply(vae, latents, method="decode").astype(jnp.float32)
        errors = jnp.square(decoded - pixels).mean(axis=range(1, pixels.ndim))
        divergence = _divergence(mean.astype(jnp.float32), log_variance.astype(jnp.float32))
        divergences = divergence.reshape(batch, count).mean(axis=1)
        # Both are sums in the paper's code; the mean over pixels is the same but for one factor.
        weight = self._kl_weight / math.prod(pixels.shape[2:])
        return errors + weight * divergences, {"mse": errors.mean(), "kl": divergences.mean()}


def _divergence(mean: Array, log_variance: Array) -> Array:
    """½ Σ (μ² + σ² - 1 - log σ²) of each picture (Kingma & Welling 2014, appendix B)."""
    terms = jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance
    return terms.sum(axis=range(1, mean.ndim)) / 2
