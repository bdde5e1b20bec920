import math

import numpy as np
import pytest
import skimage.data

from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.grabcut import GrabCut
from magdiff_jax.data.prepare.stages import make_segmenter
from magdiff_jax.errors import UserError
from magdiff_jax.media.segment import segment_box


def test_astronaut_is_found_in_the_default_box():
    photo = skimage.data.astronaut()
    masks, provenance = GrabCut().segment(photo[None], "astronaut", None)
    assert masks[0, 60:170, 190:260].mean() > 0.7, "the face"
    assert masks[0, 260:400, 150:240].mean() > 0.9, "the suit"
    assert masks[0, :200, :100].mean() < 0.02, "the flag"
    assert provenance == {"model": "grabcut", "box": [102, 51, 308, 435]}


def test_shares_are_of_width_and_height(driver):
    quarter = make_segmenter({"kind": "grabcut", "box": [0.5, 0.25, 0.5, 0.5]})
    found = quarter.segment(driver[:3], "man", None)
    assert found.provenance["box"] == [88, 36, 88, 72]
    np.testing.assert_array_equal(found.masks, segment_box(driver[:3], (88, 36, 88, 72)))


@pytest.mark.quick
def test_the_clips_own_box_comes_first(driver):
    found = GrabCut().segment(driver[:2], "man", (40, 10, 90, 134))
    assert found.provenance["box"] == [40, 10, 90, 134]
    np.testing.assert_array_equal(found.masks, segment_box(driver[:2], (40, 10, 90, 134)))
    with pytest.raises(UserError, match="176x144"):
        GrabCut().segment(driver[:2], "man", (100, 10, 90, 134))


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.9, 0.9, 0.1, 0.1), (0.999, 0.999, 0.001, 0.001)])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (144, 176)])
def test_every_box_lies_within_every_frame(box, size, driver):
    frames = driver[:1, : size[0], : size[1]]
    x, y, width, height = GrabCut(box).segment(frames, "", None).provenance["box"]
    assert min(x, y) >= 0
    assert min(width, height) >= 1
    assert x + width <= size[1]
    assert y + height <= size[0]


@pytest.mark.parametrize(
    "box",
    [(0.5, 0.5, 0.6, 0.2), (0.1, 0.1, 0, 0.5), (-0.1, 0, 0.5, 0.5), (0, 0, 1), (20, 10, 60, 80), (0, 0, 1, math.nan)],
)
def test_impossible_boxes(box):
    with pytest.raises(ConfigError, match="shares of the frame"):
        GrabCut(box)
