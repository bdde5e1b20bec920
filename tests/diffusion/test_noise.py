"""Noise: who it depends on, and the progressive prior's statistics."""

import numpy as np
import pytest

from magdiff_jax.diffusion.noise import normal, progressive, seed_keys


def test_a_seed_gives_its_noise_in_any_batch() -> None:
    batch = normal(seed_keys([3, 4, 5]), 7, (2, 3))
    for index, seed in enumerate((3, 4, 5)):
        np.testing.assert_array_equal(batch[index], normal(seed_keys([seed]), 7, (2, 3))[0])


def test_seeds_and_streams_are_independent() -> None:
    keys = seed_keys([0, 1])
    (a, b), (c, d) = normal(keys, 0, (20_000,)), normal(keys, 1, (20_000,))
    correlation = np.corrcoef([a, b, c, d])
    np.testing.assert_allclose(correlation, np.eye(4), atol=0.03)


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_progressive_noise_has_unit_variance_and_decaying_correlation(alpha: float) -> None:
    frames = np.asarray(progressive(normal(seed_keys([0]), 0, (5, 100, 100)), alpha))[0].reshape(5, -1)
    step = alpha / np.sqrt(1 + alpha**2)
    expected = step ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    np.testing.assert_allclose(np.cov(frames), expected, atol=0.05)


def test_without_correlation_noise_stays_as_it_is() -> None:
    noise = normal(seed_keys([1, 2]), 0, (4, 3))
    np.testing.assert_array_equal(progressive(noise, 0.0), noise)
