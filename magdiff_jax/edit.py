"""Keep a video's subject and make everything else anew after a prompt.

    python -m magdiff_jax.edit --model models/magdiff --video bikes.mp4 --subject-box 200,40,180,200 \\
        --prompt "a cyclist in the snow" --out snow.mp4 --sheet
"""

import argparse
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from magdiff_jax import commands, requests, runtime
from magdiff_jax.cutout import BLACK
from magdiff_jax.errors import UserError
from magdiff_jax.matte import follow
from magdiff_jax.media.edges import check_edges, feather_frames, grow_masks, opacity
from magdiff_jax.media.fitting import FITS, Fitting
from magdiff_jax.media.footage import Footage, MaskedClip, OneByOne
from magdiff_jax.media.masks import masks_in_order
from magdiff_jax.media.readers import Reader
from magdiff_jax.media.seeking import VideoReader
from magdiff_jax.media.segment import follow_box, parse_box
from magdiff_jax.media.sheet import frames_shown
from magdiff_jax.media.sound import Sound, has_sound
from magdiff_jax.media.video import choose, open_clip, pictures_in_order
from magdiff_jax.media.writing import check_fps
from magdiff_jax.requests import Task
from magdiff_jax.results import Shown, Source, write_outputs

if TYPE_CHECKING:
    from magdiff_jax.conditioning import Shape
    from magdiff_jax.pipeline import MagDiff
    from magdiff_jax.weights.directory import Description

# Of the shorter side: how far a kept subject fades into what the model has made.
_SOFT = 0.005


def make_parser(many: bool = False) -> commands.Parser:
    parser = commands.sampling_parser("edit", __doc__ or "", many)
    parser.add_argument(
        "--video", type=Path, required=not many, metavar="FILE|DIR", help="video, GIF or folder of pictures"
    )
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument(
        "--masks",
        type=Path,
        metavar="FILE|DIR",
        help="white where the subject is: a video or folder like --video, or one picture for all frames",
    )
    masks.add_argument(
        "--subject-box",
        metavar="X,Y,W,H",
        help="find the subject within this box of the first frame (GrabCut) and follow it",
    )
    commands.add_mask_flags(parser)
    parser.add_argument(
        "--frames",
        type=_frames,
        metavar="N|all",
        help="to take from the video (default: the model's); more than the model's are edited in windows that overlap",
    )
    parser.add_argument("--start", type=int, default=0, help="first frame to take (default: 0)")
    parser.add_argument("--stride", type=int, default=1, help="take every so many frames (default: 1)")
    parser.add_argument("--fps", type=float, help="frames a second (default: the video's, over --stride)")
    parser.add_argument(
        "--fit",
        choices=FITS,
        default="crop",
        help="how the video's shape becomes the model's: crop shows the part around the subject that has the model's "
        "shape, letterbox and stretch all of the video, at its own size (default: crop)",
    )
    parser.add_argument(
        "--keep-subject",
        action="store_true",
        help="put the subject's own pixels back into the result, which gets the size that they have in the video",
    )
    return parser


def _frames(text: str) -> int | str:
    return text if text == "all" else int(text)


def shape_of(args: argparse.Namespace, description: "Description") -> "Shape":
    """Size of the clips, or of the windows of a longer one, that the model makes."""
    from magdiff_jax.pipeline import plan

    most = description.model.frames
    frames = most if args.frames in (None, "all") else min(args.frames, most)
    return plan(description, commands.settings_of(args), frames, args.height, args.width, with_subject=True)


def check(args: argparse.Namespace) -> None:
    if args.fps is not None:
        check_fps(args.fps)
    check_edges(args.mask_grow, args.mask_feather)
    if (args.masks, args.matte, args.subject_box) == (None, None, None):
        raise UserError("where is the subject? give --masks, --subject-box or --matte")
    if args.matte is not None and args.masks is not None:
        raise UserError("--matte finds the subject, --masks say where it is: give one of them")
    if args.subject_box is not None:
        parse_box(args.subject_box)


def read(args: argparse.Namespace, shape: "Shape") -> Source:
    """What is to be edited; a clip longer than `shape` is read frame by frame, some times over."""
    reader = open_clip(args.video)
    chosen = _chosen(reader, args, shape.frames)
    fps = reader.timeline.rate_of(chosen) if args.fps is None else args.fps
    check_fps(fps)
    is_long = len(chosen) > shape.frames
    masks = tqdm(_masks(reader, chosen, args), "masks", len(chosen), unit="frame", disable=not is_long)
    clip = MaskedClip(reader, chosen, (grow_masks(mask, args.mask_grow) for mask in masks))
    _tell_of_empty(clip)
    fitting = Fitting(args.fit, clip.size, (shape.height, shape.width), clip.extent)
    finish = None
    if args.keep_subject or args.fit != "crop":
        commands.check_size(args, *fitting.part(clip.extent).shape)
        finish = partial(_finished, clip, fitting, args.keep_subject)
    source = Source(None, None, fps, finish=finish, sound=_sound(reader, chosen, args))
    if args.sheet:
        shown = frames_shown(len(clip)) if is_long else range(len(clip))
        source = source._replace(shown=_shown(clip, shown, fitting))
    if is_long:
        extent = fitting.give(clip.extent if clip.extent.any() else ~clip.extent)
        read_all = partial(_given, clip, range(len(clip)), fitting, args.mask_feather)
        return source._replace(footage=Footage(len(clip), read_all, extent))
    frames, given_masks = zip(*_given(clip, range(len(clip)), fitting, args.mask_feather), strict=True)
    return source._replace(frames=np.stack(frames), masks=np.stack(given_masks))


def _chosen(reader: Reader, args: argparse.Namespace, frames: int) -> range:
    """Numbers of the frames to edit."""
    if args.frames == "all":
        count = len(range(args.start, len(reader.timeline.times), max(args.stride, 1)))
        return choose(reader, max(count, 1), args.start, args.stride)
    return choose(reader, frames if args.frames is None else args.frames, args.start, args.stride)


def _masks(reader: Reader, chosen: Sequence[int], args: argparse.Namespace) -> Iterator[np.ndarray]:
    """Where the subject is in each frame, one after the other: from --masks, --matte or --subject-box."""
    if args.masks is not None:
        return masks_in_order(args.masks, reader, chosen)
    box = None if args.subject_box is None else parse_box(args.subject_box)
    if args.matte is not None:
        return follow(OneByOne(reader, chosen), args.matte, box)
    assert box is not None
    return follow_box((picture.rgb for picture in pictures_in_order(reader, chosen)), box)


def _given(
    clip: MaskedClip, numbers: Sequence[int], fitting: Fitting, feather: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames and masks as the model is to see them: black where the subject is in other frames only."""
    for frame, mask in clip.pairs(numbers):
        if not mask.any():
            frame, mask = np.full_like(frame, BLACK) if clip.extent.any() else frame, np.ones_like(mask)
        yield fitting.give(feather_frames(frame, mask, feather)), fitting.give(mask)


def _shown(clip: MaskedClip, numbers: Sequence[int], fitting: Fitting) -> Shown:
    whole = not clip.extent.any()
    pairs = [(fitting.give(frame), fitting.give(mask | whole)) for frame, mask in clip.pairs(numbers)]
    frames, masks = zip(*pairs, strict=True)
    return Shown(np.stack(frames), np.stack(masks), numbers, fitting.give(clip.extent | whole))


def _finished(
    clip: MaskedClip, fitting: Fitting, keep_subject: bool, frames: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Frames that the model has made at the source's size, with its subject's own pixels where they are to be kept."""
    if not keep_subject:
        yield from map(fitting.take, frames)
        return
    for made, (frame, mask) in zip(frames, clip.pairs(range(len(clip))), strict=True):
        own, mask = fitting.part(frame), fitting.part(mask)
        inside = opacity(mask, max(round(_SOFT * min(mask.shape)), 1))[..., None]
        yield np.round(own * inside + fitting.take(made) * (1 - inside)).astype(np.uint8)


def _tell_of_empty(clip: MaskedClip) -> None:
    if not clip.extent.any():
        warnings.warn("no subject in any frame: the whole frames are taken as the subject", stacklevel=2)
    elif clip.empty:
        some = ", ".join(map(str, clip.empty[:8])) + (", …" if clip.empty[8:] else "")
        warnings.warn(f"no subject in frame {some}: nothing is kept there", stacklevel=2)


def _sound(reader: Reader, chosen: range, args: argparse.Namespace) -> Sound | None:
    """What is heard while these frames are shown."""
    if not str(args.out).lower().endswith(".mp4") or not isinstance(reader, VideoReader) or not has_sound(reader.path):
        return None
    if args.fps is not None:
        warnings.warn("the sound is left out, as --fps changes the speed", stacklevel=2)
        return None
    times, tick = [*reader.timeline.times.tolist(), reader.timeline.end], reader.timeline.tick
    end = times[min(chosen[-1] + chosen.step, len(times) - 1)]
    return Sound(reader.path, float(times[chosen[0]] * tick), float(end * tick))


def make(
    pipe: "MagDiff", runs: Sequence[argparse.Namespace], sources: Sequence[Source], progress: bool = True
) -> Sequence[Iterable[np.ndarray]]:
    """A video, as frames one after the other, for each run; one that is longer than a window comes alone."""
    if sources[0].footage is not None:
        return [_make_long(pipe, runs[0], sources[0].footage, progress)]
    with runtime.telling_of_compiling():
        videos = pipe.edit(
            [args.prompt for args in runs],
            [source.frames for source in sources],
            [source.masks for source in sources],
            progress=progress,
            **commands.options_of(runs),
        )
    return list(videos)


def _make_long(pipe: "MagDiff", args: argparse.Namespace, footage: Footage, progress: bool) -> Iterator[np.ndarray]:
    options = commands.options_of([args]) | {"negative_prompt": args.negative_prompt, "seed": args.seed}
    with runtime.telling_of_compiling():
        for frames in pipe.edit_long(args.prompt, footage, progress=progress, **options):
            yield from frames


TASK = Task(make_parser, ("video", "masks"), check, shape_of, read, make)


def main(arguments: list[str]) -> None:
    if commands.asks_for_many(arguments):
        return requests.run(TASK, arguments)
    parser = make_parser()
    args, recorded = commands.parse(parser, arguments)
    commands.settings_of(args)
    commands.check_request(args)
    check(args)

    runtime.prepare()
    from magdiff_jax.pipeline import MagDiff
    from magdiff_jax.weights.directory import read_description

    description = read_description(args.model)
    shape = shape_of(args, description)
    commands.check_size(args, shape.height, shape.width)
    source = read(args, shape)
    inputs = {**commands.digests(args, *TASK.files), "model": description.fingerprint}
    commands.check_same(recorded, args, inputs)
    record = commands.make_record(parser, args, inputs)

    pipe = MagDiff.load(args.model, args.dtype)
    (frames,) = make(pipe, [args], [source])
    write_outputs(args, source, frames, record)


if __name__ == "__main__":
    commands.run(main)
