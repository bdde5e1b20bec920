"""Subjects that get harder to see."""

import numpy as np
import pytest
import skimage.data
from skimage.filters import laplace

from magdiff_jax.config import ConfigError
from magdiff_jax.data.augment import AugmentConfig, augment_subject

CAT = skimage.data.chelsea()
MASK = np.zeros(CAT.shape[:2], bool)
MASK[100:200, 150:300] = True
NOTHING = {"noise": 0.0, "contrast": 1.0, "blur": 0.0, "scale": 1.0}


def augmented(**changes: float) -> list[tuple[np.ndarray, np.ndarray | None]]:
    config = AugmentConfig(**(NOTHING | changes))
    return [augment_subject(CAT, MASK, config, np.random.default_rng(seed)) for seed in range(20)]


def test_nothing_asked_for_changes_nothing() -> None:
    for frame, mask in augmented():
        np.testing.assert_array_equal(frame, CAT)
        np.testing.assert_array_equal(mask, MASK)


def test_noise_has_the_deviation_asked_for_at_most() -> None:
    bright = np.full((200, 200, 3), 128, np.uint8)
    config = AugmentConfig(**(NOTHING | {"noise": 30.0}))
    levels = [augment_subject(bright, None, config, np.random.default_rng(seed))[0].std() for seed in range(20)]
    assert min(levels) < 5
    assert 25 < max(levels) < 30.5


def test_contrast_falls_and_the_mean_stays() -> None:
    spreads = []
    for frame, _ in augmented(contrast=0.3):
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), CAT.mean(axis=(0, 1)), atol=0.6)
        spreads.append(frame.std() / CAT.std())
    assert 0.3 < min(spreads) < 0.7
    assert 0.8 < max(spreads) < 1.01


def test_blur_takes_the_edges() -> None:
    edges = [np.abs(laplace(frame[..., 1].astype(float))).mean() for frame, _ in augmented(blur=0.02)]
    assert max(edges) <= np.abs(laplace(CAT[..., 1].astype(float))).mean()
    assert min(edges) < 0.35 * max(edges)


def test_picture_and_mask_scale_together_about_the_subject() -> None:
    painted = np.where(MASK[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=-1)
    config = AugmentConfig(**(NOTHING | {"scale": 0.6}))
    areas = []
    for seed in range(20):
        frame, mask = augment_subject(painted, MASK, config, np.random.default_rng(seed))
        assert mask is not None
        assert ((frame[..., 0] > 127) == mask).mean() > 0.99
        np.testing.assert_allclose(np.argwhere(mask).mean(axis=0), np.argwhere(MASK).mean(axis=0), atol=1.5)
        areas.append(mask.sum() / MASK.sum())
    assert 0.3 < min(areas) < 0.7
    assert 1.5 < max(areas) < 2.9


def test_the_same_amounts_at_any_size_and_for_the_same_seed() -> None:
    first, second = (augmented(noise=10.0, blur=0.01, contrast=0.5, scale=0.8)[7] for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    states = []
    for frame, mask in ((CAT, MASK), (CAT[::2, ::2], None)):
        rng = np.random.default_rng(3)
        augment_subject(frame, mask, AugmentConfig(), rng)
        states.append(rng.bit_generator.state)
    assert states[0] == states[1]


@pytest.mark.parametrize("key", ["probability", "contrast", "scale", "noise", "blur"])
def test_impossible_amounts_are_named(key: str) -> None:
    with pytest.raises(ConfigError, match=f"AugmentConfig.{key} = -1.0"):
        AugmentConfig(**{key: -1.0})
