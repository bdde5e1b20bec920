"""Keep a video's subject and make everything else anew after a prompt.

    python -m magdiff_jax.edit --model models/magdiff --video bikes.mp4 --subject-box 200,40,180,200 \\
        --prompt "a cyclist in the snow" --out snow.mp4 --sheet
"""

import argparse
from pathlib import Path

import numpy as np

from magdiff_jax import commands, runtime
from magdiff_jax.media.masks import read_masks, whole_frame_if_empty
from magdiff_jax.media.segment import parse_box, segment_box
from magdiff_jax.media.sheet import contact_sheet
from magdiff_jax.media.video import check_fps, read_video


def make_parser() -> commands.Parser:
    parser = commands.sampling_parser("edit", __doc__ or "")
    parser.add_argument(
        "--video", type=Path, required=True, metavar="FILE|DIR", help="video, GIF or folder of pictures"
    )
    masks = parser.add_mutually_exclusive_group(required=True)
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
    parser.add_argument("--frames", type=int, help="to take from the video (default: the model's)")
    parser.add_argument("--start", type=int, default=0, help="first frame to take (default: 0)")
    parser.add_argument("--stride", type=int, default=1, help="take every so many frames (default: 1)")
    parser.add_argument("--fps", type=float, help="frames a second (default: the video's, over --stride)")
    return parser


def subject_masks(frames: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """Where the subject is in each frame, [frame, height, width]: from --masks or --subject-box."""
    if args.masks is not None:
        masks = read_masks(args.masks, len(frames), frames.shape[1], frames.shape[2], args.start, args.stride)
    else:
        masks = segment_box(frames, parse_box(args.subject_box))
    return whole_frame_if_empty(masks)


def main(arguments: list[str]) -> None:
    parser = make_parser()
    args, recorded = commands.parse(parser, arguments)
    settings = commands.settings_of(args)
    commands.check_request(args)

    runtime.prepare()
    from magdiff_jax.pipeline import MagDiff, plan
    from magdiff_jax.weights.directory import read_description

    description = read_description(args.model)
    shape = plan(description, settings, args.frames, args.height, args.width)
    clip = read_video(args.video, shape.frames, args.start, args.stride)
    masks = subject_masks(clip.frames, args)
    fps = clip.fps if args.fps is None else args.fps
    check_fps(fps)
    inputs = {**commands.digests(args, "video", "masks"), "model": description.fingerprint}
    commands.check_same(recorded, args, inputs)
    record = commands.make_record(parser, args, inputs)

    pipe = MagDiff.load(args.model, args.dtype)
    frames = pipe.edit(
        args.prompt,
        clip.frames,
        masks,
        negative_prompt=args.negative_prompt,
        seed=args.seed,
        height=args.height,
        width=args.width,
        **settings.to_dict(),
    )
    sheet = contact_sheet(clip.frames, masks, frames, args.prompt) if args.sheet else None
    commands.write_outputs(args.out, frames, fps, record, sheet)


if __name__ == "__main__":
    commands.run(main)
