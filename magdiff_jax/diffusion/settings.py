"""How a sampling run goes. Imports nothing heavy, so that commands can show their flags at once."""

import dataclasses

from magdiff_jax.config import Config, ConfigError


@dataclasses.dataclass(frozen=True)
class Settings(Config):
    """Settings of a sampling run; the commands make a flag of each.

    Attributes:
        steps: DDIM steps a clip, 1 … 1000.
        guidance_scale: of classifier-free guidance; 1 is none (paper: 7.5).
        eta: share of DDPM's noise that each step adds, 0 … 1; 0 is deterministic.
        noise_correlation: α of the progressive noise prior over the frames; 0: each frame's noise is its own.
        num_clips: clips of a long video, each continuing the one before (VidRD's rollout).
        overlap_frames: first frames of a further clip that follow the last ones of the clip before, in reverse.
        noise_recycle: a; a further clip's starting noise is a/√(1+a²) the clip before's and 1/√(1+a²) fresh.
        denoise_guidance: share of the steps during which the overlapping frames follow, 0 … 1.
    """

    steps: int = 50
    guidance_scale: float = 7.5
    eta: float = 0.0
    noise_correlation: float = 0.0
    num_clips: int = 1
    overlap_frames: int = 2
    noise_recycle: float = 1.5
    denoise_guidance: float = 0.4

    def __post_init__(self) -> None:
        self._require_positive("steps", "num_clips")
        self._require("steps", self.steps <= 1000, "at most 1000")
        self._require_number("guidance_scale", 0.0)
        self._require_number("eta", 0.0, 1.0)
        self._require_number("noise_correlation", 0.0)
        self._require(
            "overlap_frames", isinstance(self.overlap_frames, int) and self.overlap_frames >= 0, "zero or more"
        )
        self._require_number("noise_recycle", 0.0)
        self._require_number("denoise_guidance", 0.0, 1.0)


# JAX keeps 32 bits of a seed.
SEEDS = 2**32


def check_seeds(first: int, count: int = 1) -> None:
    """Raises ConfigError where `first`, `first + 1`, … (`count` of them) are not all distinct seeds."""
    if not 0 <= first <= SEEDS - count:
        raise ConfigError(f"seed = {first}: must be from 0 to {SEEDS - count}")
