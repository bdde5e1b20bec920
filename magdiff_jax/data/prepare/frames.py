"""The frames of a clip in the form that a model takes, a few at a time: a clip prepared as a whole takes 12 MB a frame.

They serve transformers' video sessions as their `processed_frames`.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from magdiff_jax.data.clip import Frames

# Enough for several threads to work for one GPU at a time.
_AHEAD = 8


class LazyFrames:
    """Frames that are prepared when they are asked for.

    Args:
        frames: of the clip, asked for by number.
        prepare: a frame → a tensor [3, height, width].
    """

    def __init__(self, frames: Any, prepare: Callable[[Any], Any]) -> None:
        self._frames = frames
        self._prepare = prepare

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Any:
        return self._prepare(self._frames[index])


class FramesAhead:
    """Frames that other threads prepare, from now on: at most eight from the one that was asked for last.

    Args:
        frames: of the clip.
        prepare: a frame → a tensor [3, height, width]; called in several threads at a time.
    """

    def __init__(self, frames: Frames, prepare: Callable[[Any], Any]) -> None:
        self._frames = frames
        self._prepare = prepare
        self._prepared: dict[int, Future] = {}
        self._look_ahead(0)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Any:
        self._look_ahead(index)
        return self._prepared[index].result()

    def _look_ahead(self, index: int) -> None:
        wanted = range(index, min(index + _AHEAD, len(self._frames)))
        for old in self._prepared.keys() - set(wanted):
            del self._prepared[old]
        for number in wanted:
            if number not in self._prepared:
                self._prepared[number] = _threads().submit(self._prepare, self._frames[number])


@lru_cache(1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="frames ahead")


def forget(session: Any, frame: int) -> None:
    """Drop what a session of SAM 2 or 3 still holds of a frame that it has tracked; memories of prompts stay."""
    for outputs in session.output_dict_per_obj.values():
        outputs["non_cond_frame_outputs"].pop(frame, None)
