"""Keep a video's subject and make everything else anew after a prompt.

    python -m magdiff_jax.edit --model models/magdiff --video bikes.mp4 --subject-box 200,40,180,200 \\
        --prompt "a cyclist in the snow" --out snow.mp4 --sheet
"""

import argparse
from pathlib import Path

import numpy as np

from magdiff_jax import commands, runtime
from magdiff_jax.errors import UserError
from magdiff_jax.media.masks import read_masks
from magdiff_jax.media.segment import parse_box, segment_box
from magdiff_jax.media.sheet import contact_sheet
from magdiff_jax.media.video import read_video


def parser() -> argparse.ArgumentParser:
    parser = commands.sampling_parser(__doc__ or "")
    parser.add_argument("--video", type=Path, required=True, metavar="FILE|DIR", help="video, GIF or folder of pictures")
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument(
        "--masks",
        type=Path,
        metavar="FILE|DIR",
        help="white where the subject is: a video or folder like --video, or one picture for all frames",
    )
    masks.add_argument(
        "--subject-box", metavar="X,Y,W,H", help="find the subject within this box of the first frame (GrabCut) and follow it"
    )
    parser.add_argument("--frames", type=int, help="to take from the video (default: the model's)")
    parser.add_argument("--start", type=int, default=0, help="first frame to take (default: 0)")
    parser.add_argument("--stride", type=int, default=1, help="take every so many frames (default: 1)")
    parser.add_argument("--fps", type=float, help="frames a second (default: the video's, over --stride)")
    return parser


def subject_masks(frames: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """Where the subject is in each frame, [frame, height, width]."""
    if args.masks is not None:
        return read_masks(args.masks, *frames.shape[:3], args.start, args.stride)
    if args.subject_box is not None:
        return segment_box(frames, parse_box(args.subject_box))
    raise UserError("where is the subject? give --masks FILE|DIR or --subject-box X,Y,W,H")


def main(arguments: list[str]) -> None:
    args, recorded = commands.parse(parser(), arguments)
    settings = commands.settings_of(args)
    if settings.num_clips != 1 or args.seed < 0:
        raise UserError("an edited video is one clip, as long as its source: --num-clips is 1, and --seed from 0")
    commands.check_outputs(args.out, args.sheet, args.overwrite)
    inputs = {"video": args.video, "masks": args.masks}
    runtime.prepare()
    from magdiff_jax.pipeline import MagDiff
    from magdiff_jax.weights.directory import read_description

    count = args.frames or read_description(args.model).model.frames
    clip = read_video(args.video, count, args.start, args.stride)
    masks = subject_masks(clip.frames, args)
    commands.check_same(recorded, inputs)

    pipe = MagDiff.load(args.model, args.dtype)
    commands.check_same_model(recorded, pipe.fingerprint)
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
    record = commands.make_record("edit", args, inputs, pipe.fingerprint)
    sheet = contact_sheet(clip.frames, masks, frames, args.prompt) if args.sheet else None
    commands.write_outputs(args.out, frames, args.fps or clip.fps, record, sheet)


if __name__ == "__main__":
    commands.run(main)
