"""Schedules: what is left of the signal, and which timesteps a run visits."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.diffusion.noise import normal, seed_keys
from magdiff_jax.diffusion.schedule import (
    SPACINGS,
    ScheduleConfig,
    add_noise,
    alphas_cumprod,
    sampling_timesteps,
    velocity,
)


def test_the_signal_fades_and_zero_snr_ends_in_pure_noise() -> None:
    plain, zero = (alphas_cumprod(ScheduleConfig(zero_terminal_snr=zero)) for zero in (False, True))
    assert (np.diff(plain) < 0).all()
    assert (np.diff(zero) < 0).all()
    assert plain[0] == pytest.approx(1 - 0.00085)
    assert zero[0] == pytest.approx(plain[0])
    assert plain[-1] == pytest.approx(0.0047, abs=1e-4)
    assert zero[-1] == 0


def test_noisy_sample_and_velocity_give_sample_and_noise_back() -> None:
    clean, noise = normal(seed_keys([0, 1, 2]), 0, (4, 5)), normal(seed_keys([0, 1, 2]), 1, (4, 5))
    alpha = jnp.asarray([0.0, 0.3, 1.0])
    noisy, v = add_noise(clean, noise, alpha), velocity(clean, noise, alpha)
    signal, spread = np.sqrt(alpha)[:, None, None], np.sqrt(1 - alpha)[:, None, None]
    np.testing.assert_allclose(signal * noisy - spread * v, clean, atol=1e-6)
    np.testing.assert_allclose(signal * v + spread * noisy, noise, atol=1e-6)
    np.testing.assert_array_equal(noisy[0], noise[0])
    np.testing.assert_array_equal(noisy[2], clean[2])


@pytest.mark.parametrize(
    ("spacing", "steps", "expected"),
    [
        ("leading", 4, [751, 501, 251, 1]),
        ("leading", 3, [667, 334, 1]),
        ("trailing", 4, [999, 749, 499, 249]),
        ("trailing", 3, [999, 666, 332]),
        ("trailing", 1, [999]),
    ],
)
def test_timesteps_worked_by_hand(spacing: str, steps: int, expected: list[int]) -> None:
    assert sampling_timesteps(ScheduleConfig(timestep_spacing=spacing), steps).tolist() == expected


@pytest.mark.parametrize("spacing", SPACINGS)
def test_any_number_of_steps_walks_down(spacing: str) -> None:
    config = ScheduleConfig(timestep_spacing=spacing)
    for steps in range(1, 1001):
        timesteps = sampling_timesteps(config, steps)
        assert len(timesteps) == steps
        assert timesteps[0] < 1000
        assert timesteps[-1] >= 0
        assert (np.diff(timesteps) < 0).all()


@pytest.mark.parametrize("steps", [0, 101])
def test_impossible_numbers_of_steps(steps: int) -> None:
    with pytest.raises(ConfigError, match=f"steps = {steps}: must be from 1 to 100"):
        sampling_timesteps(ScheduleConfig(num_train_timesteps=100), steps)


@pytest.mark.parametrize(
    "values",
    [
        {"num_train_timesteps": 0},
        {"beta_start": 0.0},
        {"beta_end": 0.0001},
        {"beta_schedule": "cosine"},
        {"prediction_type": "sample"},
        {"timestep_spacing": "linspace"},
        {"steps_offset": 1000},
        {"gamma": 1.0},
    ],
)
def test_impossible_schedules(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        ScheduleConfig.from_dict(values)
