"""What a video is made from, and how it becomes files."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from magdiff_jax import commands
from magdiff_jax.media.footage import Footage
from magdiff_jax.media.images import write_image
from magdiff_jax.media.sheet import contact_sheet
from magdiff_jax.media.sound import Sound
from magdiff_jax.media.writing import write_video


class Shown(NamedTuple):
    """Some frames of a clip to edit as they are in it, where the model may be given black ones.

    Attributes:
        frames: RGB in uint8, [frame, height, width, 3].
        masks: True where the subject is, of the same size.
        numbers: of the frames in the clip.
        extent: True where the subject is in any frame of the clip, [height, width].
    """

    frames: np.ndarray
    masks: np.ndarray
    numbers: Sequence[int]
    extent: np.ndarray


class Source(NamedTuple):
    """What a video is made from.

    Attributes:
        frames: RGB in uint8: the subject's picture to generate, [height, width, 3], or a clip to edit, [frame, …];
            None: of the prompt alone.
        masks: True where the subject is, of the same size; None without one.
        fps: of the result.
        footage: a clip to edit that is longer than the model's; `frames` and `masks` are then None.
        finish: frames that the model has made → those of the result; None: the same.
        sound: of the result.
        shown: what a contact sheet shows of a clip to edit.
    """

    frames: Any
    masks: Any
    fps: float
    footage: Footage | None = None
    finish: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]] | None = None
    sound: Sound | None = None
    shown: Shown | None = None


def write_clip(args: argparse.Namespace, source: Source, frames: Iterable[np.ndarray]) -> list[Path]:
    """Write a video, enlarged as its flags say, and its contact sheet.

    Args:
        args: the flags.
        source: what it was made from.
        frames: that the model has made, RGB in uint8.

    Returns:
        The paths of what was written.
    """
    video_path, _, sheet_path = commands.outputs_of(args.out, args.sheet)
    length = None if source.footage is None else source.footage.length
    shown = None if source.shown is None else set(source.shown.numbers)
    kept: list[np.ndarray] = []

    def passing() -> Iterator[np.ndarray]:
        finished = frames if source.finish is None else source.finish(frames)
        bar = tqdm(finished, "writing", length, unit="frame", disable=length is None)
        for number, frame in enumerate(bar):
            if sheet_path is not None and (shown is None or number in shown):
                kept.append(frame)
            yield enlarged(frame, args.enlarge)

    write_video(args.out, passing(), source.fps, source.sound)
    if sheet_path is None:
        return [video_path]
    made, shown_of = np.stack(kept), source.shown
    if shown_of is None:
        sheet = contact_sheet(source.frames, source.masks, made, args.prompt)
    else:
        sheet = contact_sheet(shown_of.frames, shown_of.masks, made, args.prompt, shown_of.numbers, shown_of.extent)
    write_image(sheet_path, sheet)
    return [video_path, sheet_path]


def write_outputs(
    args: argparse.Namespace, source: Source, frames: Iterable[np.ndarray], record: Mapping[str, Any]
) -> None:
    """Write the video, its record and its contact sheet, and print their paths."""
    video, *sheet = write_clip(args, source, frames)
    _, record_path, _ = commands.outputs_of(args.out, args.sheet)
    commands.write_record(record_path, record)
    print(video, record_path, *sheet, sep="\n")


def enlarged(frames: np.ndarray, factor: int) -> np.ndarray:
    """A frame or frames with each pixel repeated, [..., factor · height, factor · width, 3]."""
    return frames.repeat(factor, axis=-3).repeat(factor, axis=-2)
