"""The noise schedule: how much of the signal is left at each training timestep."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from magdiff_jax.config import Config, ConfigError

BETA_SCHEDULES = ("scaled_linear", "linear")
PREDICTION_TYPES = ("epsilon", "v_prediction")
SPACINGS = ("leading", "trailing")


@dataclasses.dataclass(frozen=True)
class ScheduleConfig(Config):
    """Noise schedule and how a sampling run walks it. The defaults are Stable Diffusion 2.1-base's.

    Attributes:
        num_train_timesteps: timesteps of the training schedule.
        beta_start, beta_end, beta_schedule: variance added a step; `scaled_linear` is linear in its square root.
        prediction_type: what the U-Net predicts: the noise, or the velocity (Salimans & Ho 2022).
        zero_terminal_snr: rescale so that the last timestep is pure noise (Lin et al. 2024, algorithm 1).
        timestep_spacing: where a run's timesteps lie; `trailing` includes the last one.
        steps_offset: added to every timestep of `leading` spacing.
        set_alpha_to_one: end a run at no noise at all instead of at timestep 0's.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction_type: str = "epsilon"
    zero_terminal_snr: bool = False
    timestep_spacing: str = "leading"
    steps_offset: int = 1
    set_alpha_to_one: bool = False

    def __post_init__(self) -> None:
        self._require_positive("num_train_timesteps")
        self._require("beta_start", 0 < self.beta_start < 1, "between 0 and 1")
        self._require("beta_end", self.beta_start <= self.beta_end < 1, "between beta_start and 1")
        self._require("beta_schedule", self.beta_schedule in BETA_SCHEDULES, f"one of {BETA_SCHEDULES}")
        self._require("prediction_type", self.prediction_type in PREDICTION_TYPES, f"one of {PREDICTION_TYPES}")
        self._require("timestep_spacing", self.timestep_spacing in SPACINGS, f"one of {SPACINGS}")
        self._require("steps_offset", 0 <= self.steps_offset < self.num_train_timesteps, "a timestep")


def alphas_cumprod(config: ScheduleConfig) -> Float[np.ndarray, " timestep"]:
    """ᾱ at each training timestep: the share of the signal's variance that is left (Ho et al. 2020, section 2).

    With `zero_terminal_snr`, √ᾱ is shifted and scaled so that the last is 0 and the first stays (Lin et al. 2024).
    """
    power = 0.5 if config.beta_schedule == "scaled_linear" else 1.0
    ends = config.beta_start**power, config.beta_end**power
    betas = np.linspace(*ends, config.num_train_timesteps) ** (1 / power)
    alphas = np.cumprod(1 - betas)
    if config.zero_terminal_snr:
        roots = np.sqrt(alphas)
        alphas = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    return alphas


def add_noise(
    clean: Float[Array, "batch *shape"],
    noise: Float[Array, "batch *shape"],
    alpha: Float[Array, " batch"],
) -> Float[Array, "batch *shape"]:
    """√ᾱ · clean + √(1 - ᾱ) · noise (Ho et al. 2020, eq. 4); `alpha` is ᾱ at each element's timestep."""
    signal, spread = _roots(alpha, clean.ndim)
    return signal * clean + spread * noise


def velocity(
    clean: Float[Array, "batch *shape"],
    noise: Float[Array, "batch *shape"],
    alpha: Float[Array, " batch"],
) -> Float[Array, "batch *shape"]:
    """√ᾱ · noise - √(1 - ᾱ) · clean (Salimans & Ho 2022, appendix D)."""
    signal, spread = _roots(alpha, clean.ndim)
    return signal * noise - spread * clean


def _roots(alpha: Float[Array, " batch"], dims: int) -> tuple[Array, Array]:
    column = alpha.reshape(-1, *(1,) * (dims - 1))
    return jnp.sqrt(column), jnp.sqrt(1 - column)


def sampling_timesteps(config: ScheduleConfig, steps: int) -> Int[np.ndarray, " step"]:
    """The timesteps of a run of `steps` steps, noisiest first (diffusers' spacings).

    leading: multiples of ⌊T / steps⌋, plus the offset; trailing: T, T - T/steps, …, rounded, minus one.
    Raises ConfigError where `steps` is not in 1 … T.
    """
    total = config.num_train_timesteps
    if not 0 < steps <= total:
        raise ConfigError(f"steps = {steps}: must be from 1 to {total}")
    if config.timestep_spacing == "trailing":
        # Rounding errors can make `arange` one longer than asked for.
        return (np.round(np.arange(total, 0, -total / steps)[:steps]) - 1).astype(np.int32)
    timesteps = np.arange(steps)[::-1] * (total // steps)
    # With as many steps as timesteps the offset would lead past the schedule's end.
    return (timesteps + min(config.steps_offset, total - 1 - timesteps[0])).astype(np.int32)
