"""Guidance and VidRD's rollout, with steps simple enough to follow by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.diffusion.ddim import Steps, make_steps
from magdiff_jax.diffusion.noise import normal, seed_keys
from magdiff_jax.diffusion.sampling import fresh_scale, guide, next_start, sample_clips, takes_over
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.diffusion.settings import Settings


def test_guidance_goes_from_unconditional_through_conditional() -> None:
    unconditional, conditional = jnp.asarray([1.0, 2.0]), jnp.asarray([3.0, 1.0])
    for scale, expected in ((0.0, [1, 2]), (1.0, [3, 1]), (7.5, [16, -5.5])):
        np.testing.assert_allclose(guide(unconditional, conditional, scale), expected)


@pytest.mark.parametrize(
    ("overlap", "share", "steps", "expected"),
    [
        (2, 0.4, 10, [4, 2, 0, 0]),
        (4, 1.0, 8, [8, 6, 4, 2]),
        (3, 0.5, 6, [3, 2, 1, 0]),
        (9, 1.0, 9, [9, 8, 7, 6]),
        (2, 0.0, 10, [0, 0, 0, 0]),
        (0, 1.0, 10, [0, 0, 0, 0]),
    ],
)
def test_frames_follow_the_clip_before_for_so_many_steps(
    overlap: int, share: float, steps: int, expected: list[int]
) -> None:
    settings = Settings(steps=steps, overlap_frames=overlap, denoise_guidance=share)
    taken = np.stack([takes_over(step, 4, settings) for step in range(steps)])
    assert taken.sum(axis=0).tolist() == expected
    # Those are the first steps.
    assert (np.diff(taken.astype(int), axis=0) <= 0).all()


@pytest.mark.parametrize("recycle", [0.0, 1.5])
def test_noise_of_a_further_clip_has_unit_variance_and_remembers_the_past(recycle: float) -> None:
    settings = Settings(noise_recycle=recycle)
    past, fresh = (normal(seed_keys([0]), stream, (4, 50, 50, 4)) for stream in (0, 1))
    start = np.asarray(next_start(past, fresh_scale(settings) * fresh, settings))
    assert start.var() == pytest.approx(1, abs=0.03)
    for frame in range(4):
        correlation = np.corrcoef(start[0, frame].ravel(), np.asarray(past)[0, 3 - frame].ravel())[0, 1]
        assert correlation == pytest.approx(recycle / np.sqrt(1 + recycle**2), abs=0.03)


def test_a_rollout_followed_by_hand() -> None:
    """Steps that add one; three frames, of which the first of a further clip follows for the first of two steps."""
    settings = Settings(steps=2, num_clips=2, overlap_frames=1, denoise_guidance=0.5, noise_recycle=0.0)
    start = jnp.asarray([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1, 1)
    fresh = jnp.asarray([100.0, 200.0, 300.0]).reshape(1, 3, 1, 1, 1)
    calls: list[tuple[int, int]] = []

    def add_one(latents: jax.Array, step: Steps, index: int) -> jax.Array:
        calls.append((index, int(step.timestep)))
        return latents + 1

    run = sample_clips(add_one, start, [fresh], make_steps(ScheduleConfig(), 2), settings)
    after = [np.asarray(latents).ravel().tolist() for latents in run]
    # Frame 0 of clip 2 takes frame 2 of clip 1 as it was before step 0: 30.
    assert after == [[11, 21, 31], [12, 22, 32], [31, 201, 301], [32, 202, 302]]
    assert calls == [(0, 501), (1, 1), (2, 501), (3, 1)]
