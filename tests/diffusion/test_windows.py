"""Windows along a long clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magdiff_jax.diffusion.windows import make_windows


@given(st.integers(1, 12), st.integers(0, 11), st.integers(0, 60))
def test_every_frame_is_covered_and_shared_out_whole(window: int, overlap: int, more: int) -> None:
    overlap, length = min(overlap, window - 1), window + more
    frames, shares = make_windows(length, window, overlap)
    assert (np.diff(frames, axis=1) == 1).all()
    assert (frames[0, 0], frames[-1, -1]) == (0, length - 1)
    steps = np.diff(frames[:, 0])
    assert (steps >= 1).all()
    assert (steps <= window - overlap).all()
    assert (steps[:-1] == window - overlap).all()
    np.testing.assert_allclose(np.bincount(frames.ravel(), shares.ravel()), np.ones(length), rtol=1e-6)
    assert (shares > 0).all()


def test_a_window_fades_into_the_next_one() -> None:
    frames, shares = make_windows(12, 8, 4)
    assert frames[:, 0].tolist() == [0, 4]
    np.testing.assert_allclose(shares[0], [1, 1, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5], rtol=1e-6)
    np.testing.assert_allclose(shares[1], shares[0][::-1], rtol=1e-6)


@pytest.mark.parametrize("overlap", [0, 3])
def test_a_clip_of_one_window_is_all_its_own(overlap: int) -> None:
    frames, shares = make_windows(5, 5, overlap)
    assert (frames == np.arange(5)).all()
    assert (shares == 1).all()
