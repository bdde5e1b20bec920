"""Denoising of a clip of any length: windows of the model's own length, blended at every step."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from magdiff_jax.conditioning import AnyArray, Keys, Latents, Subject
from magdiff_jax.denoiser import Denoiser
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.settings import Settings
from magdiff_jax.diffusion.windows import Windows
from magdiff_jax.sharding.mesh import over_batch, replicated

Frames = Int[np.ndarray, "window frame"]


def denoise_long(
    denoiser: Denoiser,
    text: AnyArray,
    negative_text: AnyArray,
    subject_of: Callable[[Frames], Subject],
    latents: Latents,
    keys: Keys,
    settings: Settings,
    windows: Windows,
    progress: bool = True,
) -> Latents:
    """Denoise one clip, [1, frame, height, width, channel]; a mesh of devices shares out its windows.

    Args:
        denoiser: of the model.
        text, negative_text: prompt tokens, [window, token, channel], for as many windows as devices share out.
        subject_of: the numbers of some windows' frames, [window, frame] → their subjects. It is asked again in every
            step, so that only those of one window lie on a device.
        latents: starting noise.
        keys: one, for η's noise.
        settings: how to sample; of long videos' fields none counts.
        windows: where they lie.
        progress: show a progress bar.
    """
    placed: Any = denoiser.batch_sharding
    mesh = None if placed is None else placed.mesh
    take, add = _take, _add
    latents = jnp.asarray(latents, jnp.float32)
    if mesh is not None:
        latents = jax.device_put(latents, replicated(mesh))
        take = jax.jit(_take, out_shardings=over_batch(mesh))
        add = jax.jit(_add, out_shardings=replicated(mesh))
    steps = make_steps(denoiser.schedule, settings.steps, settings.eta)
    groups = list(_groups(windows, len(text)))
    scale = float(settings.guidance_scale)
    with tqdm(total=settings.steps * len(groups), desc="sampling", unit="window", disable=not progress) as bar:
        for index in range(settings.steps):
            step = Steps(*(numbers[index] for numbers in steps))
            total = jnp.zeros_like(latents)
            for frames, shares in groups:
                condition = denoiser.condition(text, negative_text, subject_of(frames))
                prediction = denoiser.predict(condition, take(latents, frames), step.timestep, scale)
                previous, total = total, add(total, prediction, frames, shares)
                # One behind: the bar tells the truth, and few windows' conditions wait on the device.
                jax.block_until_ready(previous)
                bar.update()
            latents = _step(latents, total, step, keys, index, denoiser.schedule.prediction_type)
    return latents


def _groups(windows: Windows, size: int) -> Iterator[tuple[Frames, Float[np.ndarray, "window frame"]]]:
    """So many windows at once; the last ones are filled up with some that have no share."""
    count = len(windows.frames)
    for start in range(0, count, size):
        chosen = np.minimum(np.arange(start, start + size), count - 1)
        is_own = (np.arange(start, start + size) < count)[:, None]
        yield windows.frames[chosen], windows.shares[chosen] * is_own


@jax.jit
def _take(latents: Array, frames: Int[Array, "window frame"]) -> Array:
    return latents[0, frames]


@jax.jit
def _add(total: Array, prediction: Array, frames: Int[Array, "window frame"], shares: Array) -> Array:
    return total.at[0, frames].add(shares[..., None, None, None] * prediction)


@partial(jax.jit, static_argnames="prediction_type")
def _step(latents: Array, prediction: Array, step: Steps, keys: Keys, index: Any, prediction_type: str) -> Array:
    drawn = noise.normal(keys, index, latents.shape[1:])
    return ddim_step(latents, prediction, step, drawn, prediction_type)
