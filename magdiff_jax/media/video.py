"""Clips read from videos, animations and folders of pictures, and written."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.errors import UserError, refusals_told
from magdiff_jax.media.images import Picture
from magdiff_jax.media.readers import Reader, open_reader
from magdiff_jax.media.seeking import VideoReader
from magdiff_jax.media.writing import write_video

# Whoever reads clips and writes them has both from here.
__all__ = ["Clip", "choose", "open_clip", "pictures_in_order", "read_pictures", "read_video", "write_video"]


@dataclass(frozen=True)
class Clip:
    """Frames in time order with their rate, by the times at which the source shows them."""

    frames: UInt8[np.ndarray, "frame height width 3"]
    fps: float


def read_video(path: str | Path, frames: int, start: int = 0, stride: int = 1) -> Clip:
    """Reads frames `start`, `start + stride`, … (`frames` of them), counted as players show them.

    `path` is a video file, an animated picture (GIF, WebP, PNG, AVIF), or a folder of pictures of one
    size, taken in natural order (`2.png` before `10.png`). Frames are upright, in sRGB, with square pixels.

    Raises:
        UserError: the source is missing, unreadable, without pictures, too short, of changing
            size or over `MAX_PIXELS` a frame.
    """
    reader = open_clip(path)
    chosen = choose(reader, frames, start, stride)
    pictures = read_pictures(reader, chosen)
    return Clip(np.stack([picture.rgb for picture in pictures]), reader.timeline.rate_of(chosen))


def open_clip(path: str | Path) -> Reader:
    """The reader of a clip; warns of an HDR video. Raises UserError where nothing is there."""
    with refusals_told():
        reader = open_reader(Path(path))
        if isinstance(reader, VideoReader) and reader.hdr:
            warnings.warn(f"{path} is an HDR video: it is mapped to the range of usual screens", stacklevel=2)
    return reader


def choose(reader: Reader, frames: int, start: int = 0, stride: int = 1) -> range:
    """Numbers of the frames that `read_video` reads. Raises UserError where the source does not have them."""
    if frames < 1 or start < 0 or stride < 1:
        given = f"frames {frames}, start {start}, stride {stride}"
        raise UserError(f"{given}: must be at least 1, 0 and 1")
    wanted = range(start, start + frames * stride, stride)
    length = len(reader.timeline.times)
    if wanted[-1] >= length:
        raise _too_few(reader.path, length, wanted)
    return wanted


def read_pictures(reader: Reader, frames: Sequence[int]) -> list[Picture]:
    """These frames of a source, in this order; a number may come twice.

    Raises:
        UserError: one cannot be decoded, or is of another size than the first.
    """
    found: dict[int, Picture] = {}
    for number, picture in reader.read(set(frames)):
        found[number] = picture
        _check_same_size(reader.path, next(iter(found.values())), picture)
    return [found[number] for number in frames]


def pictures_in_order(reader: Reader, frames: Sequence[int]) -> Iterator[Picture]:
    """The same of frames that ascend, one after the other, so that few are in memory. Raises likewise."""
    waiting: dict[int, Picture] = {}
    missing = iter(frames)
    expected, first = next(missing, None), None
    for number, picture in reader.read(set(frames)):
        first = first or picture
        _check_same_size(reader.path, first, picture)
        waiting[number] = picture
        while expected in waiting:
            yield waiting[expected]
            following = next(missing, None)
            if following != expected:
                del waiting[expected]
            expected = following


def _check_same_size(path: Path, one: Picture, other: Picture) -> None:
    if one.rgb.shape != other.rgb.shape:
        sizes = [f"{picture.rgb.shape[1]}x{picture.rgb.shape[0]}" for picture in (one, other)]
        raise UserError(f"{path} has frames of {sizes[0]} and of {sizes[1]}: all must have one size")


def _too_few(path: Path, count: int, wanted: range) -> UserError:
    numbers = [str(index) for index in wanted]
    if len(numbers) > 4:
        numbers[2:-1] = ["…"]
    have = "1 frame" if count == 1 else f"{count} frames"
    need = f"frame {numbers[0]} is" if len(wanted) == 1 else f"frames {', '.join(numbers)} are"
    return UserError(f"{path} has {have}; {need} needed: choose a longer one or lower --frames/--stride")
