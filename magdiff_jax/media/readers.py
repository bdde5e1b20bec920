"""Pictures in time, whatever holds them: a video, an animated or still picture, or a folder of pictures."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from typing_extensions import Protocol, runtime_checkable

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture, count_frames, picture_size, read_animation, read_image
from magdiff_jax.media.seeking import SeekingReader
from magdiff_jax.media.steps import even_steps
from magdiff_jax.media.video import picture_files, seconds_shown


@runtime_checkable
class Reader(Protocol):
    """Upright pictures at a constant rate. It can be pickled, and keeps no file open."""

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def length(self) -> int:
        """How many pictures there are."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first picture, in pixels."""
        ...

    @property
    def fps(self) -> float:
        """Pictures per second: the average where the source has no constant rate."""
        ...

    def read(self, indices: set[int]) -> Iterator[tuple[int, Picture]]:
        """Yields each of these pictures with its index, in any order.

        Raises:
            UserError: one cannot be decoded.
        """
        ...


def open_reader(path: Path, fps: float) -> Reader:
    """Returns the reader of a file or folder; `fps` is for sources without a rate of their own.

    Raises:
        UserError: nothing is there. All other errors come when the reader is used.
    """
    if path.is_dir():
        return FolderReader(path, fps)
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    return AnimationReader(path, fps) if count_frames(path) else SeekingReader(path)


class FolderReader:
    """The pictures of a folder in natural order; see `Reader`."""

    def __init__(self, path: Path, fps: float):
        self.path, self.fps = path, fps

    @cached_property
    def _files(self) -> list[Path]:
        return picture_files(self.path)

    @property
    def length(self) -> int:
        return len(self._files)

    @cached_property
    def size(self) -> tuple[int, int]:
        return picture_size(self._files[0])

    def read(self, indices: set[int]) -> Iterator[tuple[int, Picture]]:
        """See `Reader`."""
        for index in indices:
            yield index, read_image(self._files[index])


class AnimationReader:
    """An animated picture, or a still one, which has one frame; see `Reader`.

    The times of an animation are only known once all its frames have been decoded.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self._still_fps = path, fps

    @cached_property
    def _steps(self) -> tuple[float, np.ndarray]:
        """The rate, and the frame that each step shows."""
        if count_frames(self.path) == 1:
            return self._still_fps, np.zeros(1, int)
        seconds = [seconds_shown(seconds) for _, seconds in read_animation(self.path)]
        tick = Fraction(1, 1_000_000)
        times = np.cumsum([0, *(round(each / tick) for each in seconds)])
        return even_steps(times[:-1], int(times[-1]), tick, None)

    @property
    def length(self) -> int:
        return len(self._steps[1])

    @cached_property
    def size(self) -> tuple[int, int]:
        return picture_size(self.path)

    @property
    def fps(self) -> float:
        return self._steps[0]

    def read(self, indices: set[int]) -> Iterator[tuple[int, Picture]]:
        """See `Reader`."""
        _, shown = self._steps
        wanted = {index: int(shown[index]) for index in indices}
        for number, (picture, _) in enumerate(read_animation(self.path)):
            yield from ((index, picture) for index, frame in wanted.items() if frame == number)
            if number == max(wanted.values(), default=0):
                return
