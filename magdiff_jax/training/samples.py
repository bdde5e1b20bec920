"""Clips that a run makes while it trains: from pictures to pictures in one compiled program over the mesh.

Each clip comes out as panels side by side: what is real, the subject as the model is given it, what the model makes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8, UInt32

from magdiff_jax.conditioning import from_pixels, to_pixels
from magdiff_jax.denoiser import guided_step, side_by_side
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.ddim import Steps, make_steps
from magdiff_jax.sharding.leaves import Leaves, to_params
from magdiff_jax.sharding.mesh import replicated
from magdiff_jax.training.diffusion import Constants, Encoded, Inputs, example_keys
from magdiff_jax.training.trainer import Trainer

# Stream of the starting noise; the sampler's steps take those from 0 on.
START = 1_000_000

Panels = UInt8[Array, "batch frame height width 3"]


class Sampler:
    """Generates and edits clips with the U-Net. Noise follows from an example's position: the same throughout a run.

    Attributes:
        kinds: what it can do, and the frames that show the subject then, as `LoaderConfig.subjects`.
    """

    def __init__(self, trainer: Trainer):
        self._trainer = trainer
        unet: Any = trainer.networks["unet"].config
        with_subject = unet.apa or unet.hfa_levels
        self.kinds = {"generate": "first", "edit": "all"} if with_subject else {"generate": "none"}
        self._plan = make_steps(trainer.config.sampling, trainer.config.validation.sampling_steps)
        self._run = jax.jit(self._panels, out_shardings=replicated(trainer.mesh))

    def __call__(self, params: Leaves, frozen: Leaves, constants: Constants, inputs: Inputs, seed: Any) -> np.ndarray:
        """Panels of every clip, on all processes. `params`: trainable ones, or their average."""
        return np.asarray(self._run(params, frozen, constants, inputs, seed))

    def _panels(
        self, params: Leaves, frozen: Leaves, constants: Constants, inputs: Inputs, seed: UInt32[Array, "2"]
    ) -> Panels:
        made = self._sample({**params, **frozen}, constants, self._trainer.objective.encode(frozen, inputs), seed)
        frames = inputs.frames.shape[1]
        shown = inputs.subjects[-1] if inputs.subjects else inputs.image_prompts
        if not shown.shape[1]:
            return jnp.concatenate([inputs.frames, made], axis=3)
        subject = jax.image.resize(shown, (*shown.shape[:2], *inputs.frames.shape[2:]), "linear").astype(jnp.uint8)
        subject = jnp.pad(subject, ((0, 0), (0, frames - shown.shape[1]), (0, 0), (0, 0), (0, 0)))
        return jnp.concatenate([inputs.frames, subject, made], axis=3)

    def _sample(self, leaves: Leaves, constants: Constants, encoded: Encoded, seed: UInt32[Array, "2"]) -> Panels:
        networks, config = self._trainer.networks, self._trainer.config
        keys = example_keys(seed, encoded.positions)
        empty = jnp.broadcast_to(constants.no_text, encoded.text.shape)
        branches = [
            self._trainer.objective.condition(leaves, encoded, constants, keys, text) for text in (empty, encoded.text)
        ]
        condition = side_by_side(*branches)
        unet = to_params("unet", leaves)
        start = noise.normal(keys, START, encoded.clips.mean.shape[1:])

        def step(index: Int[Array, ""], latents: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
            numbers = Steps(*(jnp.asarray(column)[index] for column in self._plan))  # type: ignore[arg-type]
            kind, scale = config.sampling.prediction_type, config.validation.guidance_scale
            placement = self._trainer.placement
            return guided_step(networks["unet"], kind, placement, unet, condition, latents, numbers, scale, keys, index)

        latents = jax.lax.fori_loop(0, config.validation.sampling_steps, step, start)
        vae: Any = networks["vae"]
        scaled = latents / vae.config.scaling_factor
        return from_pixels(vae.apply(to_params("vae", leaves), scaled, method="decode"))


class Reconstructor:
    """Pictures through the VAE and back, from the posterior's mean."""

    def __init__(self, trainer: Trainer):
        self.kinds = {"reconstruct": "none"}
        self._vae = trainer.networks["vae"]
        self._run = jax.jit(self._panels, out_shardings=replicated(trainer.mesh))

    def __call__(self, params: Leaves, frozen: Leaves, constants: None, inputs: Inputs, seed: Any) -> np.ndarray:
        """Panels of every clip, on all processes."""
        return np.asarray(self._run({**params, **frozen}, inputs.frames))

    def _panels(self, leaves: Leaves, frames: Panels) -> Panels:
        vae = to_params("vae", leaves)
        mean, _ = self._vae.apply(vae, to_pixels(frames.reshape(-1, *frames.shape[2:])), method="encode")
        decoded = self._vae.apply(vae, mean.reshape(*frames.shape[:2], *mean.shape[1:]), method="decode")
        return jnp.concatenate([frames, from_pixels(decoded)], axis=3)


class Nothing:
    """Of towers there is nothing to see."""

    def __init__(self, trainer: Trainer):
        self.kinds: dict[str, str] = {}


SAMPLERS: dict[str, Any] = {"diffusion": Sampler, "vae": Reconstructor, "clip": Nothing}
