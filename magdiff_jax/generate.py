"""Make a video of a subject from a picture of it and a prompt, or of a prompt alone.

    python -m magdiff_jax.generate --model models/magdiff --subject cat.jpg --mask cat-mask.png \\
        --prompt "a cat walking on the beach" --out clip.mp4 --sheet
    python -m magdiff_jax.generate --model models/vidrd --prompt "a cat walking on the beach" --out clip.mp4
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magdiff_jax import commands, requests, runtime
from magdiff_jax.errors import UserError
from magdiff_jax.matte import matte
from magdiff_jax.media.edges import check_edges, feather_frames, grow_masks
from magdiff_jax.media.images import Picture, read_image
from magdiff_jax.media.masks import alpha_mask, read_masks, whole_frame_if_empty
from magdiff_jax.media.place import parse_place, place_subject
from magdiff_jax.media.segment import parse_box, segment_box
from magdiff_jax.media.writing import check_fps
from magdiff_jax.requests import Task
from magdiff_jax.results import Source, write_outputs

if TYPE_CHECKING:
    from magdiff_jax.conditioning import Shape
    from magdiff_jax.pipeline import MagDiff
    from magdiff_jax.weights.directory import Description

# Frames a second of MagDiff's clips.
FPS = 8.0


def make_parser(many: bool = False) -> commands.Parser:
    parser = commands.sampling_parser("generate", __doc__ or "", many, long_videos=True)
    parser.add_argument(
        "--subject",
        type=Path,
        metavar="FILE",
        help="picture of the subject (default: none, a video of the prompt alone, as text-to-video models make it)",
    )
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument(
        "--mask",
        type=Path,
        metavar="FILE|DIR",
        help="picture, white where the subject is, or the first of a folder or video (default: the subject's own "
        "transparency, else the whole picture)",
    )
    masks.add_argument("--subject-box", metavar="X,Y,W,H", help="find the subject within this box instead (GrabCut)")
    parser.add_argument(
        "--place",
        metavar="X,Y,SIZE",
        help="put the subject's middle there and make its longer side so long, in shares of the frame (default: as it "
        "is in the picture); 0.5,0.5,0.4 suits pictures that it fills",
    )
    commands.add_mask_flags(parser)
    parser.add_argument("--frames", type=int, help="of a clip (default: the model's)")
    parser.add_argument("--fps", type=float, default=FPS, help=f"frames a second (default: {FPS})")
    parser.add_argument(
        "--count", type=int, default=1, help="videos to make, with seeds from --seed on; NAME-1, NAME-2, … (default: 1)"
    )
    return parser


def subject_mask(picture: Picture, args: argparse.Namespace) -> np.ndarray:
    """Where the subject is, [height, width]: from --mask, --matte, --subject-box, transparency, or everywhere."""
    height, width = picture.rgb.shape[:2]
    box = None if args.subject_box is None else parse_box(args.subject_box)
    if args.mask is not None:
        mask = read_masks(args.mask, 1, height, width)[0]
    elif args.matte is not None:
        mask = matte(picture.rgb[None], args.matte, box)[0]
    elif box is not None:
        mask = segment_box(picture.rgb[None], box)[0]
    else:
        transparency = alpha_mask(picture)
        mask = np.ones((height, width), bool) if transparency is None else transparency
    return whole_frame_if_empty(mask[None])[0]


def check(args: argparse.Namespace) -> None:
    check_fps(args.fps)
    check_edges(args.mask_grow, args.mask_feather)
    if args.matte is not None and args.mask is not None:
        raise UserError("--matte finds the subject, --mask says where it is: give one of them")
    for name in ("mask", "matte", "subject_box", "place"):
        if args.subject is None and getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} is of the subject's picture: add --subject, or leave {flag} out")
    if args.subject_box is not None:
        parse_box(args.subject_box)
    if args.place is not None:
        parse_place(args.place)
        if (args.height is None) != (args.width is None):
            raise UserError("--place needs the frame's shape: give both --height and --width, or neither")


def shape_of(args: argparse.Namespace, description: "Description") -> "Shape":
    """Size of the clips that the model makes."""
    from magdiff_jax.pipeline import plan

    settings, with_subject = commands.settings_of(args), args.subject is not None
    return plan(description, settings, args.frames, args.height, args.width, with_subject)


def read(args: argparse.Namespace, shape: "Shape | None" = None) -> Source:
    if args.subject is None:
        return Source(None, None, args.fps)
    picture = read_image(args.subject)
    mask = grow_masks(subject_mask(picture, args), args.mask_grow)
    rgb = feather_frames(picture.rgb, mask, args.mask_feather)
    if args.place is not None:
        # Models make square clips where nothing else is asked for.
        aspect = args.width / args.height if args.width else 1.0
        rgb, mask = place_subject(rgb, mask, parse_place(args.place), aspect)
    return Source(rgb, mask, args.fps)


def make(
    pipe: "MagDiff", runs: Sequence[argparse.Namespace], sources: Sequence[Source], progress: bool = True
) -> Sequence[Iterable[np.ndarray]]:
    """A video, as frames one after the other, for each run."""
    with runtime.telling_of_compiling():
        videos = pipe.generate(
            [args.prompt for args in runs],
            [source.frames for source in sources],
            [source.masks for source in sources],
            frames=runs[0].frames,
            progress=progress,
            **commands.options_of(runs),
        )
    return list(videos)


TASK = Task(make_parser, ("subject", "mask"), check, shape_of, read, make)


def main(arguments: list[str]) -> None:
    if commands.asks_for_many(arguments):
        return requests.run(TASK, arguments)
    parser = make_parser()
    args, recorded = commands.parse(parser, arguments)
    commands.settings_of(args)
    commands.check_request(args, args.count)
    check(args)
    source = read(args)
    inputs = commands.digests(args, *TASK.files)

    runtime.prepare()
    from magdiff_jax.pipeline import MagDiff
    from magdiff_jax.weights.directory import read_description

    description = read_description(args.model)
    shape = shape_of(args, description)
    commands.check_size(args, shape.height, shape.width)
    inputs["model"] = description.fingerprint
    commands.check_same(recorded, args, inputs)
    record = commands.make_record(parser, args, inputs)

    pipe = MagDiff.load(args.model, args.dtype)
    for seed, out in enumerate(commands.numbered(args.out, args.count), args.seed):
        args.seed = record["arguments"]["seed"] = seed
        args.out = out
        write_outputs(args, source, make(pipe, [args], [source])[0], record)


if __name__ == "__main__":
    commands.run(main)
