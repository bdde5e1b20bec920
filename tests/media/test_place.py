"""Subjects put in their place."""

import numpy as np
import pytest
import skimage.data

from magdiff_jax import UserError
from magdiff_jax.media.place import parse_place, place_subject

CAT = skimage.data.chelsea()
MASK = np.zeros(CAT.shape[:2], bool)
MASK[40:240, 130:230] = True
MASK[40:60, 130:150] = False


@pytest.mark.parametrize(("aspect", "size"), [(1.0, (500, 500)), (2.0, (500, 1000)), (0.5, (1000, 500))])
def test_no_pixel_changes(aspect: float, size: tuple[int, int]) -> None:
    frame, mask = place_subject(CAT, MASK, parse_place("0.25,0.4,0.4"), aspect)
    assert frame.shape == (*size, 3)
    assert mask.shape == size
    rows, columns = np.nonzero(mask)
    assert np.ptp(rows) + 1 == 200  # the longer side: 0.4 of 500
    assert abs((rows.min() + rows.max()) / 2 / size[0] - 0.4) < 0.002
    assert abs((columns.min() + columns.max()) / 2 / size[1] - 0.25) < 0.002
    np.testing.assert_array_equal(frame[mask], CAT[MASK])
    assert not frame[~mask].any()


def test_what_fits_exactly() -> None:
    frame, mask = place_subject(CAT[:, :300], np.ones((300, 300), bool), parse_place("0.5,0.5,1"), 1.0)
    np.testing.assert_array_equal(frame, CAT[:, :300])
    assert mask.all()


@pytest.mark.parametrize("text", ["", "0.5,0.5", "a,b,c", "0.5,0.5,0", "0.5,1.5,0.4", "nan,0.5,0.4", "1,2,3,4"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UserError, match=r"must be X,Y,SIZE"):
        parse_place(text)


def test_what_does_not_fit() -> None:
    with pytest.raises(UserError, match="reach out of the frame"):
        place_subject(CAT, MASK, parse_place("0.09,0.5,0.4"), 1.0)
    with pytest.raises(UserError, match="give a smaller picture"):
        place_subject(CAT, MASK, parse_place("0.5,0.5,0.01"), 1.0)
