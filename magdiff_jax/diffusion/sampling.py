"""Sampling runs: a loop over a compiled step, for one clip or for VidRD's rollout of several."""

import math
from collections.abc import Callable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from magdiff_jax.diffusion.ddim import Steps
from magdiff_jax.diffusion.settings import Settings

Latents = Float[Array, "batch frame height width channel"]
# (latents, the step's numbers, its index in the whole run) → latents after the step.
StepFunction = Callable[[Latents, Steps, int], Latents]


def guide(
    unconditional: Float[Array, "*shape"], conditional: Float[Array, "*shape"], scale: Float[Array, ""] | float
) -> Float[Array, "*shape"]:
    """Classifier-free guidance: away from the unconditional prediction (Ho & Salimans 2022, eq. 6, w = scale - 1)."""
    return unconditional + scale * (conditional - unconditional)


def fresh_scale(settings: Settings) -> float:
    """Standard deviation of the fresh part of a further clip's starting noise: 1/√(1+a²), a = noise_recycle."""
    return 1 / math.sqrt(1 + settings.noise_recycle**2)


def next_start(past: Latents, fresh: Latents, settings: Settings) -> Latents:
    """Starting noise of the clip after one that started at `past`: a/√(1+a²) · past, frames reversed, + fresh.

    `fresh` has the standard deviation `fresh_scale`, so that the sum has variance one (VidRD, section 3.3).
    """
    return settings.noise_recycle * fresh_scale(settings) * past[:, ::-1] + fresh


def takes_over(step: int, frames: int, settings: Settings) -> Bool[np.ndarray, " frame"]:
    """Which frames of a further clip take the latents of the clip before as this step's input.

    The first `overlap_frames`: frame 0 during `denoise_guidance` of the steps, later ones during proportionally fewer.
    """
    frame = np.arange(frames)
    share = settings.denoise_guidance * (1 - frame / max(settings.overlap_frames, 1))
    # Rounded, so that six steps are not a hair more than six, which would be seven.
    return (frame < settings.overlap_frames) & (step < np.round(share * settings.steps, 6))


def sample_clips(
    step_function: StepFunction,
    start: Latents,
    fresh: Sequence[Latents],
    steps: Steps,
    settings: Settings,
) -> Iterator[Latents]:
    """Denoise a clip from `start`, and after it one more for each entry of `fresh`.

    Args:
        step_function: one denoising step.
        start: noise of the first clip.
        fresh: fresh noise of each further clip, see `next_start`.
        steps: the plan of the run, the same for every clip.
        settings: how a clip continues the one before.

    Yields:
        The latents after every step, clip by clip; the last ones of a clip are its result.
    """
    past: list[Latents] = []
    for clip in range(1 + len(fresh)):
        latents = next_start(past[0], fresh[clip - 1], settings) if past else start
        inputs: list[Latents] = []
        for index in range(settings.steps):
            if past:
                taken = takes_over(index, latents.shape[1], settings)
                latents = jnp.where(taken[:, None, None, None], past[index][:, ::-1], latents)
            inputs.append(latents)
            step = Steps(*(numbers[index] for numbers in steps))
            latents = step_function(latents, step, clip * settings.steps + index)
            yield latents
        past = inputs
