"""Make a video of a subject from a picture of it and a prompt.

    python -m magdiff_jax.generate --model models/magdiff --subject cat.jpg --mask cat-mask.png \\
        --prompt "a cat walking on the beach" --out clip.mp4 --sheet
"""

import argparse
from pathlib import Path

import numpy as np

from magdiff_jax import commands, runtime
from magdiff_jax.media.images import Picture, read_image
from magdiff_jax.media.masks import alpha_mask, read_masks, whole_frame_if_empty
from magdiff_jax.media.segment import parse_box, segment_box
from magdiff_jax.media.sheet import contact_sheet
from magdiff_jax.media.video import check_fps

# Frames a second of MagDiff's clips.
FPS = 8.0


def make_parser() -> commands.Parser:
    parser = commands.sampling_parser("generate", __doc__ or "", long_videos=True)
    parser.add_argument("--subject", type=Path, required=True, metavar="FILE", help="picture of the subject")
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument(
        "--mask",
        type=Path,
        metavar="FILE|DIR",
        help="picture, white where the subject is, or the first of a folder or video (default: the subject's own "
        "transparency, else the whole picture)",
    )
    masks.add_argument("--subject-box", metavar="X,Y,W,H", help="find the subject within this box instead (GrabCut)")
    parser.add_argument("--frames", type=int, help="of a clip (default: the model's)")
    parser.add_argument("--fps", type=float, default=FPS, help=f"frames a second (default: {FPS})")
    parser.add_argument(
        "--count", type=int, default=1, help="videos to make, with seeds from --seed on; NAME-1, NAME-2, … (default: 1)"
    )
    return parser


def subject_mask(picture: Picture, args: argparse.Namespace) -> np.ndarray:
    """Where the subject is, [height, width]: from --mask, --subject-box, transparency, or everywhere."""
    height, width = picture.rgb.shape[:2]
    if args.mask is not None:
        mask = read_masks(args.mask, 1, height, width)[0]
    elif args.subject_box is not None:
        mask = segment_box(picture.rgb[None], parse_box(args.subject_box))[0]
    else:
        transparency = alpha_mask(picture)
        mask = np.ones((height, width), bool) if transparency is None else transparency
    return whole_frame_if_empty(mask[None])[0]


def main(arguments: list[str]) -> None:
    parser = make_parser()
    args, recorded = commands.parse(parser, arguments)
    settings = commands.settings_of(args)
    commands.check_request(args, args.count)
    check_fps(args.fps)
    picture = read_image(args.subject)
    mask = subject_mask(picture, args)
    inputs = commands.digests(args, "subject", "mask")

    runtime.prepare()
    from magdiff_jax.pipeline import MagDiff, plan
    from magdiff_jax.weights.directory import read_description

    description = read_description(args.model)
    plan(description, settings, args.frames, args.height, args.width)
    inputs["model"] = description.fingerprint
    commands.check_same(recorded, args, inputs)
    record = commands.make_record(parser, args, inputs)

    pipe = MagDiff.load(args.model, args.dtype)
    for seed, out in enumerate(commands.numbered(args.out, args.count), args.seed):
        frames = pipe.generate(
            args.prompt,
            picture.rgb,
            mask,
            negative_prompt=args.negative_prompt,
            seed=seed,
            frames=args.frames,
            height=args.height,
            width=args.width,
            **settings.to_dict(),
        )
        record["arguments"]["seed"] = seed
        sheet = contact_sheet(picture.rgb, mask, frames, args.prompt) if args.sheet else None
        commands.write_outputs(out, frames, args.fps, record, sheet)


if __name__ == "__main__":
    commands.run(main)
