"""What the subject becomes before the U-Net sees it."""

from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from magdiff_jax import MagDiff, UserError
from magdiff_jax.conditioning import Shape, check_clip, to_pixels
from magdiff_jax.cutout import CLIP_CROP, cut_out
from magdiff_jax.diffusion.noise import seed_keys

CAT = skimage.data.chelsea()
MASK = np.zeros(CAT.shape[:2], bool)
MASK[40:260, 120:330] = True


@pytest.mark.parametrize(
    ("frames", "masks", "complaint"),
    [
        (CAT, None, "frames of shape"),
        (CAT[None].astype(np.float32) / 255, None, "type float32"),
        (CAT[None, ..., :1], None, "RGB in uint8"),
        (CAT[None][:0], None, r"shape \(0, 300, 451, 3\)"),
        (CAT[None], MASK[None].astype(np.uint8), "type uint8"),
        (CAT[None], MASK, r"must be \(1, 300, 451\)"),
        (CAT[None], MASK[None, :-1], r"masks of shape \(1, 299, 451\)"),
        (np.stack([CAT, CAT]), MASK[None], r"must be \(2, 300, 451\)"),
    ],
)
def test_arrays_that_are_no_clip_and_masks(frames: Any, masks: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        check_clip(frames, masks)


def test_arrays_of_jax_are_as_good() -> None:
    frames, masks = check_clip(jnp.asarray(CAT[None]), jnp.asarray(MASK[None]))
    np.testing.assert_array_equal(frames, CAT[None])
    assert masks is not None
    np.testing.assert_array_equal(masks, MASK[None])


def test_generation_has_its_subject_in_frame_0_and_black_after_it(pipe: MagDiff) -> None:
    shape, keys = Shape(4, 16, 16), seed_keys([1])
    encoded = pipe.encode_subjects([(CAT[None], MASK[None])], shape, keys)
    black = np.full((1, CLIP_CROP, CLIP_CROP, 3), -1, np.float32)
    first = pipe.encode_images(to_pixels(cut_out(CAT[None], MASK[None], CLIP_CROP, CLIP_CROP)))[0]
    later = pipe.encode_images(black)[0]
    tokens = encoded.image_tokens.reshape(4, *first.shape)
    for token, expected in zip(tokens, [first, later, later, later], strict=True):
        np.testing.assert_allclose(token, expected, atol=1e-5)
    assert jnp.abs(first - later).max() > 0.01
    # The largest level comes first, the video's own last; noise of the posterior apart, later frames are alike.
    assert [level.shape for level in encoded.latents] == [(1, 4, 12, 12, 4), (1, 4, 8, 8, 4)]
    for level, side in zip(encoded.latents, (24, 16), strict=True):
        factor = pipe.vae.config.scaling_factor
        for index, image in enumerate(
            [to_pixels(cut_out(CAT[None], MASK[None], side, side))] + [black[:, :side, :side]] * 3
        ):
            mean, log_variance = pipe.vae(image, method="encode")
            deviation = (level[0, index] / factor - mean[0]) / jnp.exp(log_variance[0] / 2)
            assert 0.7 < float(deviation.std()) < 1.3
            assert jnp.abs(deviation).max() < 5


def test_editing_has_every_frame_s_own_cut_out(pipe: MagDiff) -> None:
    frames = np.stack([np.roll(CAT, 20 * index, axis=1) for index in range(4)])
    masks = np.stack([np.roll(MASK, 20 * index, axis=1) for index in range(4)])
    subject = pipe.encode_subjects([(frames, masks)], Shape(4, 16, 16), seed_keys([1]))
    expected = pipe.encode_images(to_pixels(cut_out(frames, masks, CLIP_CROP, CLIP_CROP)))
    np.testing.assert_allclose(subject.image_tokens, expected.reshape(1, -1, expected.shape[-1]), atol=1e-5)
    assert min(float(jnp.abs(a - b).max()) for a, b in pairwise(expected)) > 1e-3


def test_subjects_of_a_batch_must_have_as_many_frames(pipe: MagDiff) -> None:
    one, two = (CAT[None], None), (np.stack([CAT, CAT]), None)
    with pytest.raises(UserError, match=r"subjects of \[1, 2\] frames"):
        pipe.encode_subjects([one, two], Shape(4, 16, 16), seed_keys([0, 1]))
    with pytest.raises(UserError, match=r"subjects of \[2\] frames for clips of 1"):
        pipe.encode_subjects([two], Shape(1, 16, 16), seed_keys([0]))
