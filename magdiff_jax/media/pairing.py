"""Which mask belongs to which frame."""

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.media.readers import FolderReader, Reader


def pair(video: Reader, masks: Reader, frames: Sequence[int]) -> list[int]:
    """The number of the mask of each of some frames of a video.

    One picture masks all frames. Pictures in a folder are paired by the numbers in their names: with those of the
    video's pictures, or with its frames, from 0 or from 1 on. Others are paired in order where there are as many masks
    as frames of the video, or as frames that are asked for, and videos of other lengths by the times of what they show.

    Raises:
        UserError: a frame has no mask, or the masks are those of a longer or shorter video.
    """
    if masks.is_still:
        return [0] * len(frames)
    length, count = len(video.timeline.times), len(masks.timeline.times)
    if isinstance(masks, FolderReader) and (numbers := _numbers(masks.files)) is not None:
        return _by_number(video, masks, frames, numbers)
    if length == count:
        return list(frames)
    if count == len(frames):
        return list(range(count))
    if isinstance(video, FolderReader) or isinstance(masks, FolderReader):
        first = min(length, count)
        lacking, of = ("mask", masks) if count < length else ("frame", video)
        raise UserError(
            f"{masks.path} has {count} masks for the {length} frames of {video.path}: {of.path} has no {lacking} "
            f"{first}; give one mask for each frame, or number both in their names"
        )
    return _by_time(video, masks, frames)


def check_gaps(masks: Reader) -> None:
    """Raises UserError where numbered pictures leave one out: those after it would be taken for earlier frames."""
    numbers = _numbers(masks.files) if isinstance(masks, FolderReader) else None
    if numbers is None or not isinstance(masks, FolderReader):
        return
    lacking = next((number for number in range(min(numbers), max(numbers)) if number not in numbers), None)
    if lacking is not None:
        raise UserError(
            f"{masks.path} lacks {_like(masks.files[0], lacking)}: add it, black where the subject is not in the frame"
        )


def _by_number(video: Reader, masks: FolderReader, frames: Sequence[int], numbers: dict[int, int]) -> list[int]:
    own = _numbers(video.files) if isinstance(video, FolderReader) else None
    if own is not None and isinstance(video, FolderReader):
        number_of = {position: number for number, position in own.items()}
        names = [video.files[frame].name for frame in frames]
    else:
        # Counted from 0 or from 1; a folder that begins later holds the masks of a part, by the frames' own numbers.
        base = 1 if min(numbers) == 1 else 0
        number_of = {frame: base + frame for frame in range(len(video.timeline.times))}
        names = [f"frame {frame}" for frame in frames]
    beyond = max(numbers) - max(number_of.values())
    if beyond > 0:
        name = masks.files[numbers[max(numbers)]].name
        raise UserError(f"{masks.path}: {name} masks no frame of {video.path}, which ends {beyond} before: check both")
    for frame, name in zip(frames, names, strict=True):
        if number_of[frame] not in numbers:
            raise UserError(
                f"{masks.path} has no mask for {name} of {video.path}: add {_like(masks.files[0], number_of[frame])}, "
                "black where the subject is not in the frame"
            )
    return [numbers[number_of[frame]] for frame in frames]


def _by_time(video: Reader, masks: Reader, frames: Sequence[int]) -> list[int]:
    of_frames, of_masks = _seconds(video), _seconds(masks)
    longest = max(float(np.diff(times).max()) for times in (of_frames, of_masks))
    if abs(of_frames[-1] - of_masks[-1]) > longest:
        raise UserError(
            f"{masks.path} lasts {of_masks[-1]:.2f} s with {len(of_masks) - 1} masks, but {video.path} "
            f"{of_frames[-1]:.2f} s with {len(of_frames) - 1} frames: give masks of the same length"
        )
    middles = (of_frames[:-1] + of_frames[1:]) / 2
    shown = np.searchsorted(of_masks[:-1], middles, side="right") - 1
    return [int(shown[frame]) for frame in frames]


def _seconds(reader: Reader) -> np.ndarray:
    """When each frame appears and the last one disappears, from the first one on."""
    timeline = reader.timeline
    ticks = np.append(timeline.times, timeline.end) - timeline.times[0]
    return ticks * float(Fraction(timeline.tick))


def _numbers(files: Sequence[Path]) -> dict[int, int] | None:
    """The position of each file by the last number in its name; None where they have none of their own."""
    found = [re.findall(r"\d+", file.stem) for file in files]
    numbers = {int(each[-1]): position for position, each in enumerate(found) if each}
    return numbers if len(numbers) == len(files) else None


def _like(file: Path, number: int) -> str:
    """A file's name with another number, as wide as its own."""
    *_, last = re.finditer(r"\d+", file.stem)
    stem = f"{file.stem[: last.start()]}{number:0{len(last.group())}}{file.stem[last.end() :]}"
    return stem + file.suffix
