#!/usr/bin/env python
"""Convert Stable Diffusion, VidRD and MagDiff files of PyTorch to a MagDiff folder, and back.

From Stable Diffusion 2.1 alone, or with VidRD's checkpoint, the result is the released code's starting point for
training: temporal layers that change nothing yet, conv_in widened for the subject, fresh image-prompt layers. Without
APA and HFA it is VidRD itself, a text-to-video model. The SHA-256 of each file that is read is printed.

    convert_torch_weights.py --base stable-diffusion-2-1-base --checkpoint ModelT2V.pth \\
        --vision open_clip_pytorch_model.bin --out models/magdiff
    convert_torch_weights.py --base stable-diffusion-2-1-base --checkpoint ModelT2V.pth \\
        --without apa --without hfa --out models/vidrd
    convert_torch_weights.py --to-torch models/magdiff --out torch-files
"""

import argparse
import os
from pathlib import Path

from magdiff_jax.commands import Parser, run
from magdiff_jax.errors import UserError


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it is there")
    forth = parser.add_argument_group("PyTorch → MagDiff")
    forth.add_argument("--base", type=Path, metavar="DIR", help="Stable Diffusion folder in diffusers' layout")
    forth.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="VidRD's ModelT2V.pth, MagDiff.pth, …; may be repeated, a later one replaces an earlier one's tensors",
    )
    forth.add_argument(
        "--vae", type=Path, metavar="DIR", help="folder of a VAE to take instead of any other, such as VidRD's"
    )
    forth.add_argument(
        "--vision", type=Path, metavar="FILE", help="OpenCLIP weights with the vision tower, which APA needs"
    )
    forth.add_argument(
        "--dtype",
        choices=("source", "float32", "bfloat16", "float16"),
        default="source",
        help="to store the parameters in (default: as in the files)",
    )
    forth.add_argument(
        "--hfa-levels",
        type=levels,
        metavar="SIZES",
        help="pixel sizes of HFA's pyramid, largest first: 384,320,256, or 256 as in the released code (default)",
    )
    forth.add_argument(
        "--without",
        choices=("sda", "apa", "hfa"),
        action="append",
        default=[],
        help="leave out an alignment; may be repeated: without apa and hfa a text-to-video model results",
    )
    forth.add_argument("--bgr", action="store_true", help="the model saw its image prompts in OpenCV's colour order")
    forth.add_argument("--seed", type=int, default=0, help="of the parameters that start fresh (default: 0)")
    back = parser.add_argument_group("MagDiff → PyTorch")
    back.add_argument("--to-torch", type=Path, metavar="DIR", help="MagDiff folder to write as PyTorch files")
    back.add_argument(
        "--format",
        choices=("pickle", "safetensors"),
        default="pickle",
        help="of those files; pickle needs torch (default)",
    )
    args = parser.parse_args(arguments)
    if (args.base is None) == (args.to_torch is None):
        parser.error("give either --base, to convert from PyTorch, or --to-torch")
    if args.hfa_levels is not None and "hfa" in args.without:
        raise UserError("--hfa-levels is for HFA: leave it out, or --without hfa")
    return args


def levels(text: str) -> tuple[int, ...]:
    sizes = tuple(int(level) for level in text.split(","))
    if min(sizes) <= 0 or list(sizes) != sorted(set(sizes), reverse=True):
        raise argparse.ArgumentTypeError(f"{text!r}: give different sizes, the largest first")
    return sizes


def main(arguments: list[str]) -> None:
    args = parse(arguments)
    # Conversion computes next to nothing and shall not take an accelerator's memory.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if not args.out.parent.is_dir():
        raise UserError(f"{args.out.parent} is not a folder: create it or choose another --out")
    if args.out.exists() and not args.overwrite:
        raise UserError(f"{args.out} exists: choose another --out or add --overwrite")
    if args.to_torch is not None:
        from magdiff_jax.weights.export import to_torch

        to_torch(args.to_torch, args.out, args.format)
    else:
        from magdiff_jax.weights.convert import from_torch
        from magdiff_jax.weights.sources import Sources

        from_torch(
            Sources(args.base, args.checkpoint, args.vae, args.vision, args.bgr),
            args.out,
            dtype=args.dtype,
            hfa_levels=() if "hfa" in args.without else args.hfa_levels or (256,),
            apa="apa" not in args.without,
            sda="sda" not in args.without,
            seed=args.seed,
        )
    print(args.out)


if __name__ == "__main__":
    run(main)
