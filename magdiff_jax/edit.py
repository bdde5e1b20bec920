"""Keep a video's subject and make everything else anew after a prompt.

    python -m magdiff_jax.edit --model models/magdiff --video bikes.mp4 --subject-box 200,40,180,200 \\
        --prompt "a cyclist in the snow" --out snow.mp4 --sheet
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magdiff_jax import commands, requests, runtime
from magdiff_jax.errors import UserError
from magdiff_jax.matte import matte
from magdiff_jax.media.edges import check_edges, feather_frames, grow_masks
from magdiff_jax.media.masks import read_masks, whole_frame_if_empty
from magdiff_jax.media.segment import parse_box, segment_box
from magdiff_jax.media.sheet import contact_sheet
from magdiff_jax.media.video import check_fps, read_video
from magdiff_jax.requests import Source, Task

if TYPE_CHECKING:
    from magdiff_jax.pipeline import MagDiff


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
    parser.add_argument("--frames", type=int, help="to take from the video (default: the model's)")
    parser.add_argument("--start", type=int, default=0, help="first frame to take (default: 0)")
    parser.add_argument("--stride", type=int, default=1, help="take every so many frames (default: 1)")
    parser.add_argument("--fps", type=float, help="frames a second (default: the video's, over --stride)")
    return parser


def subject_masks(frames: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """Where the subject is in each frame, [frame, height, width]: from --masks, --matte or --subject-box."""
    if args.masks is not None:
        height, width = frames.shape[1:3]
        masks = read_masks(args.masks, len(frames), height, width, args.start, args.stride, args.video)
    elif args.matte is not None:
        masks = matte(frames, args.matte, None if args.subject_box is None else parse_box(args.subject_box))
    else:
        masks = segment_box(frames, parse_box(args.subject_box))
    return whole_frame_if_empty(masks)


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


def read(args: argparse.Namespace, frames: int) -> Source:
    clip = read_video(args.video, frames, args.start, args.stride)
    fps = clip.fps if args.fps is None else args.fps
    check_fps(fps)
    masks = grow_masks(subject_masks(clip.frames, args), args.mask_grow)
    return Source(feather_frames(clip.frames, masks, args.mask_feather), masks, fps)


def make(
    pipe: "MagDiff", runs: Sequence[argparse.Namespace], sources: Sequence[Source], progress: bool = True
) -> np.ndarray:
    with runtime.telling_of_compiling():
        return pipe.edit(
            [args.prompt for args in runs],
            [source.frames for source in sources],
            [source.masks for source in sources],
            progress=progress,
            **commands.options_of(runs),
        )


TASK = Task(make_parser, ("video", "masks"), check, read, make)


def main(arguments: list[str]) -> None:
    if commands.asks_for_many(arguments):
        return requests.run(TASK, arguments)
    parser = make_parser()
    args, recorded = commands.parse(parser, arguments)
    settings = commands.settings_of(args)
    commands.check_request(args)
    check(args)

    runtime.prepare()
    from magdiff_jax.pipeline import MagDiff, plan
    from magdiff_jax.weights.directory import read_description

    description = read_description(args.model)
    shape = plan(description, settings, args.frames, args.height, args.width, with_subject=True)
    commands.check_size(args, shape.height, shape.width)
    source = read(args, shape.frames)
    inputs = {**commands.digests(args, *TASK.files), "model": description.fingerprint}
    commands.check_same(recorded, args, inputs)
    record = commands.make_record(parser, args, inputs)

    pipe = MagDiff.load(args.model, args.dtype)
    (frames,) = make(pipe, [args], [source])
    sheet = contact_sheet(source.frames, source.masks, frames, args.prompt) if args.sheet else None
    commands.write_outputs(args.out, frames, source.fps, record, sheet)


if __name__ == "__main__":
    commands.run(main)
