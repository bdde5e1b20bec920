"""The VAE's objective: its divergence is diffusers', weighed as in the paper's code, and it learns."""

import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.conditioning import to_pixels
from magdiff_jax.models.vae import LOG_VARIANCE
from magdiff_jax.sharding.leaves import to_params
from tests.training.tiny import SIZE, Run, make_run

WEIGHT = 0.5


@pytest.fixture(scope="module")
def run() -> Run:
    optimizer = {"learning_rate": 1e-2, "warmup_steps": 10, "ema": 0.0}
    rules = ((r"^vae/", True), ("rest", False))
    return make_run(objective="vae", steps=200, trainable=rules, optimizer=optimizer, kl_weight=WEIGHT)


def test_squared_error_and_divergence_are_weighed_as_sums(run: Run) -> None:
    torch = pytest.importorskip("torch")
    vae = pytest.importorskip("diffusers.models.autoencoders.vae")
    params, network = to_params("vae", run.state.params), run.trainer.networks["vae"]
    pixels = to_pixels(run.encoded.images).reshape(-1, SIZE, SIZE, 3)
    mean, log_variance = network.apply(params, pixels, method="encode")
    moments = np.moveaxis(np.concatenate([mean, log_variance], axis=-1), -1, 1)
    divergence = float(vae.DiagonalGaussianDistribution(torch.from_numpy(moments)).kl().mean())

    _, (metrics, *_) = run.steps(1)
    assert float(metrics["kl"]) == pytest.approx(divergence, rel=1e-5)
    # The paper's code: a picture's squared errors summed up, plus the weight times its divergence.
    values = SIZE * SIZE * 3
    summed = values * float(metrics["mse"]) + WEIGHT * divergence
    assert float(metrics["loss"]) == pytest.approx(summed / values, rel=1e-5)


def test_it_begins_nearly_without_noise_and_learns(run: Run) -> None:
    pixels = to_pixels(run.encoded.images).reshape(-1, SIZE, SIZE, 3)
    _, log_variance = run.trainer.networks["vae"].apply(to_params("vae", run.state.params), pixels, method="encode")
    assert jnp.abs(log_variance - LOG_VARIANCE).max() < 2
    _, metrics = run.steps(100)
    assert float(metrics[-1]["mse"]) < float(metrics[0]["mse"]) / 5
