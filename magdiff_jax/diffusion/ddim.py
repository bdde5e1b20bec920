"""DDIM (Song et al. 2021), with what a whole run needs computed beforehand."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from magdiff_jax.config import ConfigError
from magdiff_jax.diffusion.schedule import ScheduleConfig, alphas_cumprod, sampling_timesteps


class Steps(NamedTuple):
    """The numbers of a run's steps, or of one of them.

    Attributes:
        timestep: of the training schedule.
        alpha: ᾱ before the step.
        alpha_next: ᾱ after it.
        sigma: standard deviation of the noise that the step adds (η = 0: none).
    """

    timestep: Int[np.ndarray, "*step"]
    alpha: Float[np.ndarray, "*step"]
    alpha_next: Float[np.ndarray, "*step"]
    sigma: Float[np.ndarray, "*step"]


def make_steps(config: ScheduleConfig, steps: int, eta: float = 0.0) -> Steps:
    """Plan a run. σ = η · √((1 - ᾱ')/(1 - ᾱ)) · √(1 - ᾱ/ᾱ') (Song et al. 2021, eq. 16).

    Raises:
        ConfigError: `steps` is not in 1 … num_train_timesteps, `eta` is not in 0 … 1, or the noise is to be predicted
            at a timestep that is pure noise.
    """
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta = {eta}: must be from 0 to 1")
    alphas = alphas_cumprod(config)
    timestep = sampling_timesteps(config, steps)
    following = timestep - config.num_train_timesteps // steps
    last = 1.0 if config.set_alpha_to_one else alphas[0]
    alpha, alpha_next = alphas[timestep], np.where(following >= 0, alphas[following], last)
    if config.prediction_type == "epsilon" and alpha.min() == 0:
        raise ConfigError(
            "prediction_type = 'epsilon' cannot start at a timestep of pure noise: "
            "use v_prediction, leading spacing or zero_terminal_snr = False"
        )
    sigma = eta * np.sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
    return Steps(timestep, *(numbers.astype(np.float32) for numbers in (alpha, alpha_next, sigma)))


def ddim_step(
    sample: Float[Array, "*shape"],
    prediction: Float[Array, "*shape"],
    step: Steps,
    noise: Float[Array, "*shape"],
    prediction_type: str,
) -> Float[Array, "*shape"]:
    """One step towards the data (Song et al. 2021, eq. 12); `noise` is standard normal, used where σ > 0."""
    signal, spread = jnp.sqrt(step.alpha), jnp.sqrt(1 - step.alpha)
    if prediction_type == "epsilon":
        epsilon = prediction
        clean = (sample - spread * epsilon) / signal
    else:
        epsilon = signal * prediction + spread * sample
        clean = signal * sample - spread * prediction
    # From pure noise with η = 1 nothing is left, which rounding can make less than nothing.
    direction = jnp.sqrt(jnp.maximum(1 - step.alpha_next - step.sigma**2, 0))
    return jnp.sqrt(step.alpha_next) * clean + direction * epsilon + step.sigma * noise
