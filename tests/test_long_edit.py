"""Videos of any length, edited in windows."""

import weakref
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax import MagDiff, UserError
from magdiff_jax.conditioning import Shape
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.settings import Settings
from magdiff_jax.diffusion.windows import make_windows
from magdiff_jax.long_denoiser import denoise_long
from magdiff_jax.media.footage import Footage
from tests.sampling_on_a_mesh import OPTIONS, make_footage

PROMPT = "a cat on the beach"


# The cat is wider than the middle of the picture.
pytestmark = pytest.mark.filterwarnings("ignore:21% of the subject is cut away")


def made(pipe: MagDiff, footage: Footage, **options: Any) -> np.ndarray:
    return np.concatenate(list(pipe.edit_long(PROMPT, footage, seed=7, **{**OPTIONS, **options})))


def test_every_frame_comes_out_and_every_argument_counts(pipe: MagDiff) -> None:
    footage = make_footage(11)
    frames = made(pipe, footage)
    assert frames.shape == (11, 16, 16, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(made(pipe, footage), frames)
    for change in ({"seed": 8}, {"overlap": 1}, {"negative_prompt": "rain"}, {"eta": 0.0}, {"noise_correlation": 2.0}):
        other = np.concatenate(list(pipe.edit_long(PROMPT, footage, **{"seed": 7, **OPTIONS, **change})))
        assert (other != frames).any(), change
    assert made(pipe, make_footage(3)).shape == (3, 16, 16, 3)


def test_the_blend_is_that_of_windows_denoised_one_by_one(pipe: MagDiff) -> None:
    """Beside plain NumPy, from the U-Net's own predictions."""
    length, window, overlap = 7, 4, 2
    settings = Settings(steps=3, guidance_scale=3.0)
    keys = noise.seed_keys([5])
    random = np.random.default_rng(0)
    start = random.standard_normal((1, length, 8, 8, pipe.unet.config.latent_channels)).astype(np.float32)
    text, negative = pipe.encode_prompts([PROMPT]), pipe.encode_prompts([""])
    pairs = list(make_footage(length).read())
    subjects = [
        pipe.encode_subjects(
            [(np.stack([pairs[n][0] for n in part]), np.stack([pairs[n][1] for n in part]))],
            Shape(window, 16, 16),
            keys,
            around=make_footage(length).extent[None],
        )
        for part in ([0, 1, 2, 3], [2, 3, 4, 5], [3, 4, 5, 6])
    ]
    windows = make_windows(length, window, overlap)
    assert windows.frames[:, 0].tolist() == [0, 2, 3]
    found = denoise_long(
        pipe.sample, text, negative, lambda frames: subjects[[0, 2, 3].index(frames[0, 0])], start, keys, settings,
        windows, False,
    )  # fmt: skip
    latents = start
    plan = make_steps(pipe.schedule, 3)
    # Triangles of heights 1, 2, 2, 1, each frame's shared out among the windows that it is in.
    triangle = np.array([1, 2, 2, 1], np.float32)
    for index in range(3):
        step = Steps(*(numbers[index] for numbers in plan))
        total, weight = np.zeros_like(latents), np.zeros(length, np.float32)
        for first, subject in zip((0, 2, 3), subjects, strict=True):
            condition = pipe.sample.condition(text, negative, subject)
            part = pipe.sample.predict(condition, latents[:, first : first + 4], step.timestep, 3.0)
            total[:, first : first + 4] += triangle[:, None, None, None] * np.asarray(part)
            weight[first : first + 4] += triangle
        given = map(jnp.asarray, (latents, total / weight[:, None, None, None]))
        none = jnp.zeros(latents.shape)
        latents = np.asarray(ddim_step(*given, step, none, pipe.schedule.prediction_type))
    np.testing.assert_allclose(np.asarray(found), latents, atol=1e-4)


def test_one_window_is_an_edit(pipe: MagDiff) -> None:
    """The denoising of a clip that fits into a window is the ordinary one."""
    keys, settings = noise.seed_keys([5]), Settings(steps=3, eta=0.5)
    text, negative = pipe.encode_prompts([PROMPT]), pipe.encode_prompts(["rain"])
    frames, masks = map(np.stack, zip(*make_footage(4).read(), strict=True))
    subject = pipe.encode_subjects([(frames, masks)], Shape(4, 16, 16), keys)
    start = pipe.start_latents(Shape(4, 16, 16), keys, settings)
    (expected,) = pipe.sample(text, negative, subject, start, keys, settings, progress=False)
    windows = make_windows(4, 4, 2)
    found = denoise_long(pipe.sample, text, negative, lambda _: subject, start, keys, settings, windows, False)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=2e-5)


def test_one_program_serves_all_lengths_and_few_frames_are_held(pipe: MagDiff) -> None:
    alive, most = 0, 0

    def leave() -> None:
        nonlocal alive
        alive -= 1

    def counted(footage: Footage) -> Iterator[Any]:
        nonlocal alive, most
        for frame, mask in footage.read():
            frame = frame.copy()
            weakref.finalize(frame, leave)
            alive += 1
            most = max(most, alive)
            yield frame, mask

    made(pipe, make_footage(9))
    before = pipe.sample._predict._cache_size()
    held = []
    for length in (9, 41):
        footage, most = make_footage(length), 0
        made(pipe, Footage(length, lambda footage=footage: counted(footage), footage.extent))
        held.append(most)
    assert held[0] == held[1] <= 2 * 4 + 1
    assert pipe.sample._predict._cache_size() == before


def test_mistakes(pipe: MagDiff) -> None:
    with pytest.raises(UserError, match="overlap 4: must be from 0 to 3"):
        made(pipe, make_footage(9), overlap=4)
    with pytest.raises(UserError, match="no frames"):
        made(pipe, Footage(0, lambda: [], np.zeros((4, 4), bool)))
