import threading
import time

import numpy as np
import pytest

from magdiff_jax.data.prepare.frames import FramesAhead, LazyFrames

FRAMES = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


class Preparing:
    """Counts what is prepared, and by which threads."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.threads: set[str] = set()

    def __call__(self, frame: np.ndarray) -> int:
        self.threads.add(threading.current_thread().name)
        self.numbers.append(int(frame[0, 0, 0]))
        time.sleep(0.01)
        return 10 * int(frame[0, 0, 0])


def test_frames_are_prepared_when_they_are_asked_for() -> None:
    preparing = Preparing()
    frames = LazyFrames(FRAMES, preparing)
    assert not preparing.numbers
    assert (frames[3], len(frames)) == (30, 30)
    assert preparing.numbers == [3]


def test_frames_ahead_are_the_same_each_prepared_once_by_other_threads() -> None:
    preparing = Preparing()
    frames = FramesAhead(FRAMES, preparing)
    asked = [0, *range(30), 29]
    assert [frames[index] for index in asked] == [10 * index for index in asked]
    assert sorted(preparing.numbers) == list(range(30))
    assert len(preparing.threads) > 1
    assert threading.current_thread().name not in preparing.threads
    assert len(frames) == 30


def prepared(preparing: Preparing, count: int) -> list[int]:
    """What is prepared some time after there are so many."""
    end = time.monotonic() + 10
    while len(preparing.numbers) < count and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)
    return sorted(preparing.numbers)


def test_eight_frames_ahead_and_no_more() -> None:
    preparing = Preparing()
    frames = FramesAhead(FRAMES, preparing)
    assert prepared(preparing, 8) == list(range(8)), "before the first is asked for"
    assert frames[4] == 40
    assert prepared(preparing, 12) == list(range(12))
    assert frames[0] == 0, "what was passed by is prepared anew"


def test_what_fails_to_be_prepared_fails_where_it_is_asked_for() -> None:
    def prepare(frame: np.ndarray) -> int:
        return 1 // int(frame[0, 0, 0] != 2)

    frames = FramesAhead(FRAMES[:4], prepare)
    assert frames[0] == 1
    with pytest.raises(ZeroDivisionError):
        frames[2]
