import numpy as np
import pytest

from magdiff_jax.media.images import fit, subject_window
from magdiff_jax.media.sheet import contact_sheet


@pytest.fixture
def ellipse(cat):
    rows, columns = np.indices(cat.shape[:2])
    return ((rows - 150) / 140) ** 2 + ((columns - 200) / 160) ** 2 < 1


def count(sheet, tile) -> int:
    """How often a tile stands on the sheet, pixel by pixel."""
    import cv2

    difference = cv2.matchTemplate(sheet, tile, cv2.TM_SQDIFF)
    height, width = tile.shape[:2]
    # Computed in float32, so near matches are looked at again.
    near = np.argwhere(difference < 1e-4 * np.sum(tile.astype(float) ** 2))
    return sum(np.array_equal(sheet[y : y + height, x : x + width], tile) for y, x in near)


def test_generation_shows_reference_subject_and_every_frame(cat, ellipse, carphone):
    sheet = contact_sheet(cat, ellipse, carphone[:8], "a cat in a car")
    assert count(sheet, fit(cat, 144, 216)) == 1
    # At the proportions of the frames, as the model is given it.
    window = subject_window(ellipse[None], 144, 176)
    given = np.where(fit(ellipse, 144, 176, window)[..., None], fit(cat, 144, 176, window), 0)
    assert count(sheet, given.astype(np.uint8)) == 1
    for frame in carphone[:8]:
        assert count(sheet, frame) == 1


def test_without_a_subject_the_frames_stand_alone(cat, ellipse, carphone):
    sheet = contact_sheet(None, None, carphone[:8], "a man in a car")
    assert [count(sheet, frame) for frame in carphone[:8]] == [1] * 8
    assert sheet.shape[1] < contact_sheet(cat, ellipse, carphone[:8]).shape[1] - (216 + 176)


def test_lines_break_after_eight_frames(cat, ellipse, carphone):
    eight = contact_sheet(cat, ellipse, carphone[:8])
    twelve = contact_sheet(cat, ellipse, carphone)
    assert twelve.shape[1] == eight.shape[1]
    assert twelve.shape[0] > eight.shape[0] + 144
    assert count(twelve, carphone[11]) == 1


def test_editing_shows_source_subject_and_result(carphone):
    masks = np.zeros((8, 144, 176), bool)
    masks[:, 30:120, 50:130] = True
    source, result = carphone[:8], 255 - carphone[:8]
    sheet = contact_sheet(source, masks, result, "a man made of light")
    for index in range(8):
        assert count(sheet, np.where(masks[index][..., None], source[index], 0)) == 1
        assert count(sheet, result[index]) == 1
        # The outline hides the mask's rim; what is well inside and well outside stays.
        assert count(sheet, source[index, 34:116, 54:126]) >= 1
        assert count(sheet, source[index]) == 0


def test_a_frame_without_the_subject_is_shown_as_it_is(carphone):
    masks = np.zeros((2, 144, 176), bool)
    masks[0, 30:120, 50:130] = True
    result = 255 - carphone[:2]
    sheet = contact_sheet(carphone[:2], masks, result, "a man made of light", [3, 7], masks[0])
    assert count(sheet, carphone[1]) == 1
    black = (sheet == 0).all(axis=-1).sum()
    assert black >= 2 * 144 * 176 - 90 * 80, "around the one subject, and where there is none"
    as_first = contact_sheet(carphone[:2], masks, result, "a man made of light", [0, 1], masks[0])
    assert (sheet != as_first).any(), "frames have their own numbers"


def test_whole_frame_mask_still_has_an_outline(carphone):
    sheet = contact_sheet(carphone[:1], np.ones((1, 144, 176), bool), carphone[1:2])
    assert count(sheet, carphone[0]) == 1, "only the subject cut-out, not the outlined source"


def test_small_frames_grow_and_large_ones_shrink(cat, ellipse):
    small, large = np.full((3, 32, 32, 3), 90, np.uint8), np.full((3, 900, 1600, 3), 90, np.uint8)
    assert 128 < contact_sheet(cat, ellipse, small).shape[0] < 256
    assert 256 < contact_sheet(cat, ellipse, large).shape[0] < 400


@pytest.mark.parametrize("title", ["", "cat " * 500, "x" * 5000, "a\nb\tc", "猫 🐈 ﷽"])
def test_any_title_leaves_the_frames_in_sight(cat, ellipse, carphone, title):
    sheet = contact_sheet(cat, ellipse, carphone[:2], title)
    assert sheet.shape[0] < 300
    assert count(sheet, carphone[1]) == 1
