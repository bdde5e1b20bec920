"""Sampling runs: a loop over a compiled step, for one clip or for VidRD's rollout of several."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from magdiff_jax.config import Config
from magdiff_jax.diffusion.ddim import Steps

Latents = Float[Array, "batch frame height width channel"]
# (latents, the step's numbers, its index in the whole run) → latents after the step.
StepFunction = Callable[[Latents, Steps, int], Latents]


def guide(
    unconditional: Float[Array, "*shape"], conditional: Float[Array, "*shape"], scale: Float[Array, ""] | float
) -> Float[Array, "*shape"]:
    """Classifier-free guidance: away from the unconditional prediction (Ho & Salimans 2022, eq. 6, w = scale - 1)."""
    return unconditional + scale * (conditional - unconditional)


@dataclasses.dataclass(frozen=True)
class Rollout(Config):
    """How a long video's next clip continues the one before (VidRD, arXiv 2309.03549, section 3.3).

    Attributes:
        overlap_frames: the first frames of a clip, which repeat the last ones of the clip before in reverse.
        noise_recycle: a; the next clip's starting noise is a/√(1+a²) of the clip before's and 1/√(1+a²) fresh.
        denoise_guidance: share of the steps during which an overlapping frame takes over the earlier clip's
            latents; the first frame for all of them, later ones for fewer.
    """

    overlap_frames: int = 2
    noise_recycle: float = 1.5
    denoise_guidance: float = 0.4

    def __post_init__(self) -> None:
        self._require("overlap_frames", self.overlap_frames >= 0, "zero or more frames")
        self._require("noise_recycle", self.noise_recycle >= 0, "zero or more")
        self._require("denoise_guidance", 0 <= self.denoise_guidance <= 1, "from 0 to 1")

    def fresh_scale(self) -> float:
        """Standard deviation of the fresh part of the next clip's starting noise."""
        return 1 / math.sqrt(1 + self.noise_recycle**2)

    def start(self, past: Latents, fresh: Latents) -> Latents:
        """The next clip's starting noise from the clip before's, in reversed frame order, and scaled fresh noise."""
        return self.noise_recycle * self.fresh_scale() * past[:, ::-1] + fresh

    def takes_over(self, step: int, steps: int, frames: int) -> Bool[np.ndarray, " frame"]:
        """Which frames of the next clip take over the earlier clip's latents before this step."""
        frame = np.arange(frames)
        share = self.denoise_guidance * (1 - frame / max(self.overlap_frames, 1))
        return (frame < self.overlap_frames) & (step < share * steps)


@dataclasses.dataclass(frozen=True)
class Settings(Config):
    """How a sampling run goes.

    Attributes:
        steps: DDIM steps a clip, 1 … 1000.
        guidance_scale: of classifier-free guidance; 1 is none (paper: 7.5).
        eta: share of DDPM's noise that each step adds, 0 … 1; 0 is deterministic.
        noise_correlation: α of the progressive noise prior; 0: the frames' noise is independent.
        num_clips: clips of a long video, each continuing the one before.
        overlap_frames, noise_recycle, denoise_guidance: how it continues, see `Rollout`.
    """

    steps: int = 50
    guidance_scale: float = 7.5
    eta: float = 0.0
    noise_correlation: float = 0.0
    num_clips: int = 1
    overlap_frames: int = Rollout.overlap_frames
    noise_recycle: float = Rollout.noise_recycle
    denoise_guidance: float = Rollout.denoise_guidance

    def __post_init__(self) -> None:
        self._require_positive("steps", "num_clips")
        self._require("steps", self.steps <= 1000, "at most 1000")
        self._require("guidance_scale", self.guidance_scale >= 0, "zero or more")
        self._require("eta", 0 <= self.eta <= 1, "from 0 to 1")
        self._require("noise_correlation", self.noise_correlation >= 0, "zero or more")
        _ = self.rollout

    @property
    def rollout(self) -> Rollout:
        """The last three settings."""
        return Rollout(self.overlap_frames, self.noise_recycle, self.denoise_guidance)


def sample_clips(
    step_function: StepFunction,
    start: Latents,
    fresh: Sequence[Latents],
    steps: Steps,
    rollout: Rollout,
) -> Iterator[Latents]:
    """Denoise a clip from `start`, and after it one more for each entry of `fresh`.

    Args:
        step_function: one denoising step.
        start: noise of the first clip.
        fresh: fresh noise of each further clip, scaled by `rollout.fresh_scale()`.
        steps: the plan of the run, the same for every clip.
        rollout: how a clip continues the one before.

    Yields:
        The latents after every step, clip by clip; the last ones of a clip are its result.
    """
    count = len(steps.timestep)
    past: list[Latents] = []
    for clip in range(1 + len(fresh)):
        latents = start if clip == 0 else rollout.start(past[0], fresh[clip - 1])
        inputs = []
        for index in range(count):
            if clip > 0:
                taken = rollout.takes_over(index, count, latents.shape[1])
                latents = jnp.where(taken[:, None, None, None], past[index][:, ::-1], latents)
            inputs.append(latents)
            step = Steps(*(numbers[index] for numbers in steps))
            latents = step_function(latents, step, clip * count + index)
            yield latents
        past = inputs
