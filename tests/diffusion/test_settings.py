"""Settings refuse what cannot be, and name it."""

from typing import Any

import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.diffusion.settings import SEEDS, Settings, check_seeds


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"steps": 2000},
        {"guidance_scale": -1.0},
        {"guidance_scale": float("inf")},
        {"eta": 2.0},
        {"eta": float("nan")},
        {"noise_correlation": -0.1},
        {"num_clips": 0},
        {"overlap_frames": -1},
        {"noise_recycle": -1.0},
        {"denoise_guidance": 1.5},
        {"guidance": 7.5},
    ],
)
def test_impossible_settings(values: dict[str, Any]) -> None:
    (key,) = values
    with pytest.raises(ConfigError, match=key):
        Settings.from_dict(values)


def test_settings_travel_as_json() -> None:
    settings = Settings(steps=3, eta=0.5)
    assert Settings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (SEEDS, 1), (SEEDS - 1, 2)])
def test_seeds_that_jax_would_fold_onto_others(first: int, count: int) -> None:
    with pytest.raises(ConfigError, match=f"seed = {first}"):
        check_seeds(first, count)


def test_all_other_seeds() -> None:
    check_seeds(0)
    check_seeds(SEEDS - 2, 2)
