"""Which frames, and which part of them."""

import numpy as np
import pytest

from magdiff_jax.data.transforms import choose_frames, choose_window


@pytest.mark.parametrize(
    ("length", "count", "stride", "expected"),
    [
        (8, 8, 1, [0, 1, 2, 3, 4, 5, 6, 7]),
        (30, 8, 4, [0, 4, 8, 12, 16, 20, 24, 28]),
        (29, 8, 4, [0, 4, 8, 12, 16, 20, 24, 28]),
        # Too short for the stride: spread over the clip.
        (28, 8, 4, [0, 3, 7, 10, 14, 17, 21, 24]),
        (8, 4, 5, [0, 2, 4, 6]),
        (3, 8, 1, [0, 0, 0, 1, 1, 1, 2, 2]),
        (1, 8, 4, [0] * 8),
        (9, 1, 4, [0]),
    ],
)
def test_frames_from_the_start_worked_by_hand(length: int, count: int, stride: int, expected: list[int]) -> None:
    assert choose_frames(length, count, stride, 0) == expected


def test_every_start_that_leaves_room_is_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = [choose_frames(12, 4, 3, rng) for _ in range(200)]
    assert {tuple(np.diff(indices)) for indices in drawn} == {(3, 3, 3)}
    starts, counts = np.unique([indices[0] for indices in drawn], return_counts=True)
    assert starts.tolist() == [0, 1, 2]
    assert counts.min() > 40


def test_a_clip_starts_where_its_subject_is_seen() -> None:
    areas = np.zeros(12, np.float32)
    areas[[2, 3, 11]] = 0.1
    rng = np.random.default_rng(0)
    assert {choose_frames(12, 4, 1, rng, lambda: areas)[0] for _ in range(50)} == {2, 3}
    # Frame 11 leaves no room, so of the later ones none shows it: any will do.
    areas[[2, 3]] = 0
    assert {choose_frames(12, 4, 1, rng, lambda: areas)[0] for _ in range(99)} == set(range(9))
    areas[3] = 0.1
    assert choose_frames(12, 4, 1, 2, lambda: areas) == [2, 3, 4, 5]
    assert choose_frames(12, 4, 3, 9) == [2, 5, 8, 11]


def test_areas_are_not_asked_for_where_there_is_nothing_to_draw() -> None:
    def dear() -> np.ndarray:
        raise AssertionError("all masks would be decoded")

    rng = np.random.default_rng(0)
    assert choose_frames(8, 8, 1, rng, dear) == list(range(8))
    assert choose_frames(3, 8, 1, rng, dear)[0] == 0
    with pytest.raises(AssertionError, match="decoded"):
        choose_frames(9, 8, 1, rng, dear)


@pytest.mark.parametrize(("target", "size"), [((64, 64), (72, 72)), ((64, 32), (72, 36)), ((32, 64), (64, 128))])
def test_windows_have_the_target_s_proportions_and_reach_all_of_the_frame(
    target: tuple[int, int], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    left, top, right, bottom = choose_window(72, 128, *target, "centre", rng)
    assert (bottom - top, right - left) == size
    assert abs(left - (128 - right)) <= 1
    assert abs(top - (72 - bottom)) <= 1
    windows = np.array([choose_window(72, 128, *target, "random", rng) for _ in range(500)])
    assert (windows[:, 2:] - windows[:, :2] == size[::-1]).all()
    np.testing.assert_array_equal(windows[:, :2].min(axis=0), (0, 0))
    np.testing.assert_array_equal(windows[:, 2:].max(axis=0), (128, 72))


@pytest.mark.parametrize("length", [1, 2, 7, 8, 20, 28])
def test_short_clips_are_spread_as_numpy_does(length: int) -> None:
    expected = np.linspace(0, length, 8, endpoint=False, dtype=int).tolist()
    assert choose_frames(length, 8, 4, np.random.default_rng(0)) == expected
