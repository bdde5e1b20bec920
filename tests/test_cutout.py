"""SDA: the subject on black, at every size."""

from typing import Any

import numpy as np
import pytest
import skimage.data

from magdiff_jax.cutout import BLACK, cut_out, level_sizes, tell_loss
from magdiff_jax.media.images import centre_window, fit, subject_window

CAT = skimage.data.chelsea()
MASK = np.zeros(CAT.shape[:2], bool)
MASK[40:260, 120:330] = True


def test_a_cut_out_is_the_subject_on_black() -> None:
    (pixels,) = cut_out(CAT[None], MASK[None], 64, 96)
    inside = fit(MASK, 64, 96)
    assert 0.1 < inside.mean() < 0.9
    assert (pixels[~inside] == BLACK).all()
    np.testing.assert_array_equal(pixels[inside], fit(CAT, 64, 96)[inside])


@pytest.mark.parametrize("masked", [False, True])
def test_no_mask_and_an_empty_one_mean_the_whole_frame(masked: bool) -> None:
    whole = cut_out(CAT[None], np.ones_like(MASK)[None], 32, 32)
    if masked:
        with pytest.warns(UserWarning, match="the whole frame is taken as the subject"):
            pixels = cut_out(CAT[None], np.zeros_like(MASK)[None], 32, 32)
    else:
        pixels = cut_out(CAT[None], None, 32, 32)
    np.testing.assert_array_equal(pixels, whole)


def test_a_subject_outside_of_the_crop_counts_as_none() -> None:
    """A square cut from the middle of this picture leaves its first columns out."""
    edge = np.zeros_like(MASK)
    edge[:, :20] = True
    middle = centre_window(*MASK.shape, 32, 32)
    with pytest.warns(UserWarning, match="empty mask in frame 1"):
        pixels = cut_out(np.stack([CAT, CAT]), np.stack([MASK, edge]), 32, 32, middle)
    np.testing.assert_array_equal(pixels[1], cut_out(CAT[None], None, 32, 32)[0])
    assert (pixels[0] == BLACK).any()


@pytest.mark.parametrize(
    ("columns", "height", "width", "window"),
    [
        ((190, 260), 32, 32, (75, 0, 375, 300)),  # in the middle square
        ((0, 40), 32, 32, (0, 0, 300, 300)),
        ((10, 110), 32, 32, (10, 0, 310, 300)),
        ((400, 451), 32, 32, (151, 0, 451, 300)),
        ((50, 450), 32, 32, (100, 0, 400, 300)),  # larger than the square: its middle
        ((0, 451), 32, 64, (0, 37, 451, 263)),
    ],
)
def test_the_window_moves_no_further_than_the_subject_needs(
    columns: tuple[int, int], height: int, width: int, window: tuple[int, ...]
) -> None:
    mask = np.zeros_like(MASK)
    mask[100:200, slice(*columns)] = True
    assert subject_window(mask[None], height, width) == window
    pixels = cut_out(CAT[None], mask[None], height, width)
    np.testing.assert_array_equal(pixels, cut_out(CAT[None], mask[None], height, width, window))


def test_what_a_subject_loses_is_told() -> None:
    mask = np.zeros_like(MASK)
    mask[:, 50:450] = True
    with pytest.warns(UserWarning, match="25% of the subject is cut away: .* 300x300 from 100,0"):
        tell_loss(mask[None], 32, 32)
    tell_loss(MASK[None], 32, 32)
    tell_loss(np.ones_like(mask)[None], 32, 32)


@pytest.mark.parametrize(
    ("levels", "height", "width", "multiple", "expected"),
    [
        ((384, 320, 256), 256, 256, 8, [(384, 384), (320, 320), (256, 256)]),
        ((384, 320, 256), 128, 256, 8, [(192, 384), (160, 320), (128, 256)]),
        ((384, 320, 256), 8, 16, 8, [(16, 24), (8, 16), (8, 16)]),
        ((256,), 40, 64, 8, [(40, 64)]),
        ((), 256, 256, 8, []),
    ],
)
def test_pyramid_sizes_worked_by_hand(levels: Any, height: int, width: int, multiple: int, expected: Any) -> None:
    assert level_sizes(levels, height, width, multiple) == expected


def test_a_part_of_the_frame_is_cut_out_as_a_picture_of_its_own() -> None:
    part = (100, 20, 400, 280)
    pixels = cut_out(CAT[None], MASK[None], 64, 64, within=part)
    expected = cut_out(CAT[None, 20:280, 100:400], MASK[None, 20:280, 100:400], 64, 64)
    np.testing.assert_array_equal(pixels, expected)


def test_quiet_where_null_masks_are_usual() -> None:
    pixels = cut_out(CAT[None], np.zeros_like(MASK)[None], 32, 32, quiet=True)
    np.testing.assert_array_equal(pixels, cut_out(CAT[None], None, 32, 32))
