from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from magdiff_jax.data.clip import DecodedClip
from magdiff_jax.data.report.strips import jpeg, strip
from magdiff_jax.media.sheet import outlined


def test_frames_with_outline_stand_above_their_masks(mini):
    clip = mini[0]
    picture = strip(clip)
    assert picture.shape == (144 + 4 + 144, 8 * 176 + 7 * 4, 3)
    # Evenly spread over 10 frames; at 144 pixels they keep their size.
    for place, index in enumerate([0, 1, 3, 4, 5, 6, 8, 9]):
        column = slice(place * 180, place * 180 + 176)
        mask = clip.all_masks[index]
        np.testing.assert_array_equal(picture[:144, column], outlined(clip.all_frames[index], mask))
        np.testing.assert_array_equal(picture[148:, column, 0], mask * np.uint8(255))


def test_a_null_mask_leaves_the_raw_frames_alone(mini):
    null = DecodedClip(mini[0].info, mini[0].all_frames, None)
    np.testing.assert_array_equal(strip(null)[:, -176:], null.all_frames[-1])
    assert strip(null).shape[0] == 144


def test_one_frame_and_extreme_shapes(mini):
    for height, width in ((144, 176), (1, 4000), (4000, 1), (3, 3)):
        frames = np.full((1, height, width, 3), 90, np.uint8)
        info = replace(mini[0].info, length=1, height=height, width=width)
        picture = strip(DecodedClip(info, frames, np.ones((1, height, width), bool)))
        assert picture.shape[0] <= 2 * 144 + 4
        assert picture.shape[1] <= 400


def test_jpeg_is_near_to_the_picture(mini):
    picture = strip(mini[2])
    again = np.array(Image.open(BytesIO(jpeg(picture))))
    assert np.abs(again.astype(int) - picture).mean() < 6
