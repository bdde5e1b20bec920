"""Schedules and samplers against recordings of diffusers'."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.schedule import add_noise, alphas_cumprod, velocity
from magdiff_jax.weights.torch_configs import schedule_config
from tests.parity.recordings import Recording, assert_close, recordings

TOLERANCE = 1e-4


def at(steps: Steps, index: int) -> Steps:
    return Steps(*(numbers[index] for numbers in steps))


@pytest.mark.parametrize("path", recordings("out/alphas_cumprod"))
def test_schedules(path: Path) -> None:
    recording = Recording(path)
    plain = schedule_config(recording.config, path.name)
    zero = schedule_config({**recording.config, "rescale_betas_zero_snr": True}, path.name)
    assert_close(alphas_cumprod(plain), recording.outputs["alphas_cumprod"], 1e-6)
    assert_close(alphas_cumprod(zero), recording.outputs["alphas_cumprod_zero_snr"], 1e-6)
    clean, noise = jnp.asarray(recording.inputs["x0"]), jnp.asarray(recording.inputs["noise"])
    alpha = jnp.asarray(alphas_cumprod(zero)[recording.inputs["t"]], jnp.float32)
    assert_close(add_noise(clean, noise, alpha), recording.outputs["noisy_zero_snr"], 1e-6)
    assert_close(velocity(clean, noise, alpha), recording.outputs["velocity_zero_snr"], 1e-6)


@pytest.mark.quick
@pytest.mark.parametrize("path", recordings("out/alphas_cumprod"))
def test_ddim(path: Path) -> None:
    recording = Recording(path)
    runs = [match.groups() for name in recording.outputs if (match := re.fullmatch(r"trajectory_(\w+)_(\d+)", name))]
    assert runs
    for prediction_type, count in runs:
        config = schedule_config({**recording.config, "prediction_type": prediction_type}, path.name)
        steps = make_steps(config, int(count))
        np.testing.assert_array_equal(steps.timestep, recording.outputs[f"timesteps_{count}"])
        predictions = jnp.asarray(recording.inputs[f"model_outputs_{prediction_type}_{count}"])
        latents = jnp.asarray(recording.inputs[f"latent_{prediction_type}_{count}"])
        first = int(count) - len(predictions)
        for index, prediction in enumerate(predictions):
            latents = ddim_step(latents, prediction, at(steps, first + index), jnp.zeros_like(latents), prediction_type)
            assert_close(latents, recording.outputs[f"trajectory_{prediction_type}_{count}"][index], TOLERANCE)


@pytest.mark.parametrize("path", recordings("in/variance_noise", "out/trajectory"))
def test_ddim_variants(path: Path) -> None:
    recording = Recording(path)
    steps_count, eta = recording.config.pop("steps"), recording.config.pop("eta")
    config = schedule_config(recording.config, path.name)
    steps = make_steps(config, steps_count, eta)
    np.testing.assert_array_equal(steps.timestep, recording.outputs["timesteps"])
    latents = jnp.asarray(recording.inputs["latent"])
    for index, prediction in enumerate(jnp.asarray(recording.inputs["model_outputs"])):
        noise = jnp.asarray(recording.inputs["variance_noise"][index])
        latents = ddim_step(latents, prediction, at(steps, index), noise, config.prediction_type)
        recorded = recording.outputs["trajectory"][index]
        # ε-prediction from almost pure noise divides by √ᾱ = 0.07: the recorded scale is up to 50.
        assert_close(latents, recorded, TOLERANCE * max(1, np.abs(recorded).max()))
