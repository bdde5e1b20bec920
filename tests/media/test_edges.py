import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.media.edges import check_edges, feather_frames, grow_masks


@pytest.fixture
def disc() -> np.ndarray:
    """A disc of radius 20.5 in the middle of 81 x 101 pixels, and another that the border cuts, [2, 81, 101]."""
    rows, columns = np.indices((81, 101))
    return np.stack([np.hypot(rows - 40, columns - middle) <= 20.5 for middle in (50, 0)])


@pytest.mark.parametrize("pixels", [0, 1, 7, -1, -7])
def test_a_disc_grows_and_shrinks_by_its_radius(disc, pixels):
    grown = grow_masks(disc, pixels)
    rows, columns = np.indices((81, 101))
    for mask, middle in zip(grown, (50, 0), strict=True):
        distance = np.hypot(rows - 40, columns - middle)
        assert mask[distance <= 20 + pixels - 0.6].all()
        assert not mask[distance > 20.5 + pixels + 0.6].any()


def test_nothing_and_everything_stay(disc):
    for masks in (np.zeros_like(disc), np.ones_like(disc)):
        for pixels in (5, -5):
            np.testing.assert_array_equal(grow_masks(masks, pixels), masks)
    white = np.full((81, 101, 3), 255, np.uint8)
    np.testing.assert_array_equal(feather_frames(white, np.ones((81, 101), bool), 9), white)


def test_a_feathered_frame_fades_inside_its_mask(disc):
    white = np.full((2, 81, 101, 3), 200, np.uint8)
    faded = feather_frames(white, disc, 4)
    assert (faded[~disc] == 200).all()
    assert faded[0, 40, 31:37, 0].tolist() == [80, 120, 160, 200, 200, 200]  # the mask begins at column 30
    assert (faded[1, 40, :10] == 200).all(), "the border of the frame is no edge"


@pytest.mark.parametrize(("grow", "feather"), [(501, 0), (-501, 0), (0, -1), (0, 501)])
def test_absurd_numbers(grow, feather):
    with pytest.raises(UserError, match="must be between"):
        check_edges(grow, feather)
