"""DDIM with a denoiser that knows the answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.noise import normal, seed_keys
from magdiff_jax.diffusion.schedule import SPACINGS, ScheduleConfig

CLEAN = normal(seed_keys([0]), 0, (3, 4))
START = normal(seed_keys([0]), 1, (3, 4))

step = jax.jit(ddim_step, static_argnames="prediction_type")


def run(config: ScheduleConfig, count: int, eta: float) -> tuple[jax.Array, Steps]:
    """The end of a run whose every prediction is right about the clean sample."""
    plan = make_steps(config, count, eta)
    sample = START
    for index in range(count):
        numbers = Steps(*(values[index] for values in plan))
        signal, spread = np.sqrt(numbers.alpha), np.sqrt(1 - numbers.alpha)
        if config.prediction_type == "epsilon":
            prediction = (sample - signal * CLEAN) / spread
        else:
            # From sample = signal · clean + spread · noise and v = signal · noise - spread · clean.
            prediction = (signal * sample - CLEAN) / spread
        drawn = normal(seed_keys([index]), 2, (3, 4))
        sample = step(sample, prediction, numbers, drawn, prediction_type=config.prediction_type)
    return sample, plan


@pytest.mark.quick
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 3, 7, 50])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("prediction", "zero"), [("epsilon", False), ("v_prediction", False), ("v_prediction", True)])
def test_a_perfect_denoiser_recovers_the_clean_sample(
    prediction: str, zero: bool, spacing: str, count: int, eta: float
) -> None:
    config = ScheduleConfig(
        prediction_type=prediction, zero_terminal_snr=zero, timestep_spacing=spacing, set_alpha_to_one=True
    )
    sample, plan = run(config, count, eta)
    # Where rounded spacing ends a run just before the last timestep, that little noise is left.
    left = float(np.sqrt(1 - plan.alpha_next[-1]))
    assert left < 0.03
    np.testing.assert_allclose(sample, np.sqrt(plan.alpha_next[-1]) * CLEAN, atol=1e-4 + 5 * left)


def test_a_run_may_end_at_the_noise_of_the_first_timestep() -> None:
    _, plan = run(ScheduleConfig(), 2, 0.0)
    assert plan.alpha_next[-1] == pytest.approx(1 - 0.00085)


def test_full_noise_from_pure_noise_is_finite_for_any_number_of_steps() -> None:
    """Rounding must not make the direction's variance negative."""
    config = ScheduleConfig(prediction_type="v_prediction", zero_terminal_snr=True, timestep_spacing="trailing")
    for count in range(2, 41):
        first = Steps(*(values[0] for values in make_steps(config, count, 1.0)))
        assert jnp.isfinite(step(START, CLEAN, first, CLEAN, prediction_type="v_prediction")).all()


def test_noise_is_added_with_eta_only() -> None:
    for eta, sigmas in ((0.0, 0), (1.0, 9)):
        plan = make_steps(ScheduleConfig(), 10, eta)
        # The last step goes from timestep 1 to 0 and adds a little too.
        assert (plan.sigma > 0.01).sum() == sigmas + (eta > 0)
        assert (plan.sigma**2 <= 1 - plan.alpha_next + 1e-6).all()


def test_the_noise_cannot_be_predicted_in_pure_noise() -> None:
    config = ScheduleConfig(zero_terminal_snr=True, timestep_spacing="trailing")
    with pytest.raises(ConfigError, match="'epsilon' cannot start at a timestep of pure noise"):
        make_steps(config, 10)
    leading = ScheduleConfig(zero_terminal_snr=True)
    assert make_steps(leading, 10).alpha.min() > 0


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_impossible_eta(eta: float) -> None:
    with pytest.raises(ConfigError, match="eta"):
        make_steps(ScheduleConfig(), 10, eta)
