"""Make a video of a subject from a picture of it and a prompt.

    python -m magdiff_jax.generate --model models/magdiff --subject cat.jpg --mask cat-mask.png \\
        --prompt "a cat walking on the beach" --out clip.mp4 --sheet
"""

import argparse
from pathlib import Path

import numpy as np

from magdiff_jax import commands, runtime
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture, read_image
from magdiff_jax.media.masks import alpha_mask, read_masks
from magdiff_jax.media.segment import parse_box, segment_box
from magdiff_jax.media.sheet import contact_sheet

# Frames a second of MagDiff's clips.
FPS = 8.0


def parser() -> argparse.ArgumentParser:
    parser = commands.sampling_parser(__doc__ or "")
    parser.add_argument("--subject", type=Path, required=True, metavar="FILE", help="picture of the subject")
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="picture, white where the subject is (default: the subject's own transparency, else the whole picture)",
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
        return read_masks(args.mask, 1, height, width)[0]
    if args.subject_box is not None:
        return segment_box(picture.rgb[None], parse_box(args.subject_box))[0]
    transparency = alpha_mask(picture)
    return np.ones((height, width), bool) if transparency is None else transparency


def main(arguments: list[str]) -> None:
    args, recorded = commands.parse(parser(), arguments)
    settings = commands.settings_of(args)
    if args.count < 1 or args.seed < 0 or (args.frames or 1) < 1:
        raise UserError(f"--count {args.count}, --seed {args.seed}, --frames {args.frames}: --seed is from 0, the others from 1")
    names = [f"-{index + 1}" if args.count > 1 else "" for index in range(args.count)]
    outs = [args.out.with_name(f"{args.out.stem}{name}{args.out.suffix}") for name in names]
    for out in outs:
        commands.check_outputs(out, args.sheet, args.overwrite)
    inputs = {"subject": args.subject, "mask": args.mask}
    picture = read_image(args.subject)
    mask = subject_mask(picture, args)
    commands.check_same(recorded, inputs)

    runtime.prepare()
    from magdiff_jax.pipeline import MagDiff

    pipe = MagDiff.load(args.model, args.dtype)
    commands.check_same_model(recorded, pipe.fingerprint)
    first_seed = args.seed
    for index, out in enumerate(outs):
        args.seed = first_seed + index
        frames = pipe.generate(
            args.prompt,
            picture.rgb,
            mask,
            negative_prompt=args.negative_prompt,
            seed=args.seed,
            frames=args.frames,
            height=args.height,
            width=args.width,
            **settings.to_dict(),
        )
        record = commands.make_record("generate", args, inputs, pipe.fingerprint)
        sheet = contact_sheet(picture.rgb, mask, frames, args.prompt) if args.sheet else None
        commands.write_outputs(out, frames, args.fps, record, sheet)


if __name__ == "__main__":
    commands.run(main)
