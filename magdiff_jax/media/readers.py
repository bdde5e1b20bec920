"""Pictures in time, whatever holds them: a video, an animated or still picture, or a folder of pictures."""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from typing_extensions import Protocol, runtime_checkable

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture, count_frames, frame_durations, picture_size, read_animation, read_image
from magdiff_jax.media.seeking import VideoReader
from magdiff_jax.media.steps import Timeline

# Where a source has no rate of its own (a folder, a still picture).
DEFAULT_FPS = 8.0

_PICTURE_SUFFIXES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".avif",
    ".heic",
    ".heif",
}
# Of animations' times, in seconds.
_TICK = Fraction(1, 1_000_000)


@runtime_checkable
class Reader(Protocol):
    """Upright pictures in time. It can be pickled, and keeps no file open."""

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def is_still(self) -> bool:
        """Whether this is one picture; a folder or a video may hold just one, too, but then it is of one moment."""
        ...

    @property
    def timeline(self) -> Timeline:
        """When each of the pictures is shown."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first picture, in pixels."""
        ...

    @property
    def stored_size(self) -> tuple[int, int]:
        """The same in the pixels of the file, which in a video may not be square."""
        ...

    def read(self, frames: set[int]) -> Iterator[tuple[int, Picture]]:
        """Yields each of these pictures with its number, in any order; 0 is the first that is shown.

        Raises:
            UserError: one cannot be decoded.
        """
        ...


def open_reader(path: Path, fps: float = DEFAULT_FPS) -> Reader:
    """Returns the reader of a file or folder; `fps` is for sources without a rate of their own.

    Raises:
        UserError: nothing is there. All other errors come when the reader is used.
    """
    if path.is_dir():
        return FolderReader(path, fps)
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    return AnimationReader(path, fps) if count_frames(path) else VideoReader(path)


class FolderReader:
    """The pictures of a folder in natural order; see `Reader`."""

    is_still = False

    def __init__(self, path: Path, fps: float):
        self.path, self._fps = path, fps

    @cached_property
    def files(self) -> list[Path]:
        return picture_files(self.path)

    @property
    def timeline(self) -> Timeline:
        return _constant(len(self.files), self._fps)

    @cached_property
    def size(self) -> tuple[int, int]:
        return picture_size(self.files[0])

    @property
    def stored_size(self) -> tuple[int, int]:
        return self.size

    def read(self, frames: set[int]) -> Iterator[tuple[int, Picture]]:
        """See `Reader`."""
        for frame in sorted(frames):
            yield frame, read_image(self.files[frame])


class AnimationReader:
    """An animated picture, or a still one, which has one frame; see `Reader`."""

    def __init__(self, path: Path, fps: float):
        self.path, self._still_fps = path, fps

    @cached_property
    def is_still(self) -> bool:
        return count_frames(self.path) == 1

    @cached_property
    def timeline(self) -> Timeline:
        if self.is_still:
            return _constant(1, self._still_fps)
        seconds = [_seconds_shown(seconds) for seconds in frame_durations(self.path)]
        times = np.cumsum([0, *(round(each / _TICK) for each in seconds)])
        return Timeline(times[:-1], int(times[-1]), _TICK, None)

    @cached_property
    def size(self) -> tuple[int, int]:
        return picture_size(self.path)

    @property
    def stored_size(self) -> tuple[int, int]:
        return self.size

    def read(self, frames: set[int]) -> Iterator[tuple[int, Picture]]:
        """See `Reader`."""
        yield from read_animation(self.path, frames)


def picture_files(folder: Path) -> list[Path]:
    """Returns the pictures in a folder, in natural order. Raises UserError where there are none."""
    files = [file for file in folder.glob("[!.]*") if is_picture_name(file.name)]
    if not files:
        raise UserError(f"{folder} holds no pictures: name a folder of PNG or JPEG files")
    return sorted(files, key=_natural_order)


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return Path(name).suffix.lower() in _PICTURE_SUFFIXES


def _natural_order(file: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", file.name)
    return [int(part) if part.isdecimal() else part for part in parts], file.name


def _constant(frames: int, fps: float) -> Timeline:
    rate = Fraction(fps)
    return Timeline(np.arange(frames), frames, 1 / rate, rate)


def _seconds_shown(seconds: Fraction) -> Fraction:
    """For how long a viewer shows a frame of an animated picture whose file says `seconds`."""
    # Browsers show frames with almost no duration for a tenth of a second.
    return seconds if seconds > Fraction(1, 100) else Fraction(1, 10)
