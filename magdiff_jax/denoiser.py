"""The sampler around the U-Net: both guidance branches and one DDIM step in one compiled program."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from tqdm import tqdm

from magdiff_jax.conditioning import AnyArray, Keys, Latents, Subject
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.sampling import fresh_scale, guide, sample_clips
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.diffusion.settings import Settings
from magdiff_jax.errors import UserError
from magdiff_jax.models import Component, Condition, Network, Params
from magdiff_jax.models.ops import traced_for
from magdiff_jax.models.unet import ANYWHERE, Placement
from magdiff_jax.sharding.mesh import make_placement

# Called with (clip, step, latents) after every step.
OnStep = Callable[[int, int, Latents], None]

# Stream of a seed's starting noise, and from it on those of further clips; the steps' own count from 0.
STREAM = 1_000_000


def start_noise(keys: Keys, clip: int, shape: tuple[int, ...], correlation: float) -> Array:
    """The keys' starting noise, [batch, *shape], for a clip of a long video."""
    return noise.progressive(noise.normal(keys, STREAM + clip, shape), correlation)


class Denoiser:
    """Sampling with a U-Net under a schedule, where its batches lie. Compiles once for each shape of its inputs."""

    def __init__(self, unet: Component, schedule: ScheduleConfig):
        self._unet = unet
        self.schedule = schedule
        # What a step gives is what the next one takes: where it lies must not change, or it would be compiled again.
        placed = unet.batch_sharding
        mesh: Any = None if placed is None else placed.mesh
        placement = ANYWHERE if mesh is None else make_placement(mesh)
        condition = partial(unet.network.apply, method="condition", placement=placement)
        predict = partial(guided_prediction, unet.network, placement)
        step = partial(guided_step, unet.network, schedule.prediction_type, placement)
        traced = traced_for(unet.platform)
        self._condition = jax.jit(traced(condition), out_shardings=placed)
        self._predict = jax.jit(traced(predict), out_shardings=placed)
        self._step = jax.jit(traced(step), out_shardings=placed)

    def __call__(
        self,
        text: AnyArray,
        negative_text: AnyArray,
        subject: Subject,
        latents: AnyArray,
        keys: Keys,
        settings: Settings,
        *,
        fresh: Sequence[AnyArray] | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
    ) -> list[Latents]:
        """Denoise clips from explicit embeddings, subject latents and noise.

        Args:
            text, negative_text: prompt tokens, [batch, token, channel], from the text encoder.
            subject: of every clip, see `conditioning.encode_subjects`. The unconditional branch keeps it, as in the
                released code.
            latents: starting noise of the first clip, [batch, frame, height, width, channel].
            keys: one for each clip of the batch, for η's noise and that of further clips.
            settings: how to sample.
            fresh: fresh noise of the further clips, of standard deviation `fresh_scale(settings)`, instead
                of the keys'.
            on_step: called with (clip, step, latents) after every step.
            progress: show a progress bar.

        Returns:
            The denoised latents of each of the `num_clips` clips.

        Raises:
            UserError: an array that does not fit.
        """
        self._check(text, negative_text, subject, latents, keys)
        for part in fresh or ():
            require_shape("fresh", part, *latents.shape)
        condition = self.condition(text, negative_text, subject)
        start, keys = jax.device_put((jnp.asarray(latents, jnp.float32), keys), self.batch_sharding)
        if fresh is None:
            scale = fresh_scale(settings)
            further = [
                scale * start_noise(keys, clip, latents.shape[1:], settings.noise_correlation)
                for clip in range(1, settings.num_clips)
            ]
        else:
            further = [jnp.asarray(part, jnp.float32) for part in fresh]
        steps = make_steps(self.schedule, settings.steps, settings.eta)
        # A whole number would be another type to the compiled step.
        guidance_scale = float(settings.guidance_scale)

        def step_function(latents: Array, step: Steps, index: int) -> Array:
            return self._step(self._unet.params, condition, latents, step, guidance_scale, keys, index)

        run = sample_clips(step_function, start, further, steps, settings)
        total = settings.steps * (1 + len(further))
        results: list[Latents] = []
        previous = jnp.zeros(())
        for index, current in enumerate(tqdm(run, total=total, desc="sampling", unit="step", disable=not progress)):
            clip, step = divmod(index, settings.steps)
            if on_step is not None:
                on_step(clip, step, current)
            if step == settings.steps - 1:
                results.append(current)
            # One step behind: the bar tells the truth, and the device always has its next step waiting.
            jax.block_until_ready(previous)
            previous = current
        return results

    @property
    def batch_sharding(self) -> Any:
        """How a mesh of devices shares out the clips of a batch; None: one device."""
        return self._unet.batch_sharding

    def condition(self, text: AnyArray, negative_text: AnyArray, subject: Subject) -> Condition:
        """What both guidance branches of a batch are conditioned on, in the form that every step uses."""
        given: Any = jax.device_put((text, negative_text, subject), self.batch_sharding)
        text, negative_text, subject = given
        return self._condition(self._unet.params, *side_by_side((negative_text, *subject), (text, *subject)))

    def predict(self, condition: Condition, latents: Latents, timestep: Any, guidance_scale: float) -> Latents:
        """The U-Net's guided prediction for a batch of clips, in float32."""
        return self._predict(self._unet.params, condition, latents, timestep, guidance_scale)

    def _check(self, text: AnyArray, negative_text: AnyArray, subject: Subject, latents: AnyArray, keys: Keys) -> None:
        batch, unet = len(keys), self._unet.config
        require_shape("latents", latents, batch, None, None, None, unet.latent_channels)
        require_shape("text", text, batch, None, unet.cross_attention_dim)
        require_shape("negative_text", negative_text, *text.shape)
        if unet.apa:
            require_shape("subject.image_tokens", subject.image_tokens, batch, None, unet.cross_attention_dim)
        if len(subject.latents) != len(unet.hfa_levels):
            raise UserError(
                f"subject.latents: {len(subject.latents)} arrays, must be one for each of {unet.hfa_levels}"
            )
        for level in subject.latents[:-1]:
            require_shape("subject.latents", level, *latents.shape[:2], None, None, unet.latent_channels)
        for level in subject.latents[-1:]:
            require_shape("subject.latents[-1]", level, *latents.shape)


def side_by_side(unconditional: Any, conditional: Any) -> Any:
    """The guidance branches' arrays, [batch, …], as one batch, [batch · 2, …].

    The two branches of a clip follow each other: where clips are shared out among devices, none has to be moved.
    """
    return jax.tree.map(
        lambda *both: jnp.stack(both, axis=1).reshape(-1, *both[0].shape[1:]), unconditional, conditional
    )


def guided_step(
    unet: Network,
    prediction_type: str,
    placement: Placement,
    params: Params,
    condition: Condition,
    latents: Float[Array, "_batch _frame _height _width _channel"],
    step: Steps,
    guidance_scale: float | Float[Array, ""],
    keys: Keys,
    index: int | Array,
) -> Array:
    """One DDIM step; see `guided_prediction`."""
    guided = guided_prediction(unet, placement, params, condition, latents, step.timestep, guidance_scale)
    drawn = noise.normal(keys, index, latents.shape[1:])
    return ddim_step(latents, guided, step, drawn, prediction_type)


def guided_prediction(
    unet: Network,
    placement: Placement,
    params: Params,
    condition: Condition,
    latents: Float[Array, "_batch _frame _height _width _channel"],
    timestep: Any,
    guidance_scale: float | Float[Array, ""],
) -> Array:
    """What the network predicts with both guidance branches in one batch; it is in float32 from there on.

    `condition` is of both branches, `side_by_side`.
    """
    timesteps = jnp.full(2 * latents.shape[0], timestep)
    prediction = unet.apply(params, side_by_side(latents, latents), timesteps, condition, placement=placement)
    branches = prediction.astype(jnp.float32).reshape(-1, 2, *latents.shape[1:])
    return guide(branches[:, 0], branches[:, 1], guidance_scale)


def require_shape(name: str, array: AnyArray | None, *sizes: int | None) -> None:
    """Raises UserError where `array` has another shape; None stands for any size."""
    shape = None if array is None else array.shape
    if shape is None or len(shape) != len(sizes) or any(b not in (None, a) for a, b in zip(shape, sizes, strict=True)):
        allowed = ", ".join("any" if size is None else str(size) for size in sizes)
        raise UserError(f"{name}: has the shape {shape}, must have ({allowed})")
