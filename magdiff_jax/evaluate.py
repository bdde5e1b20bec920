"""Measure a model by what it makes of subjects that it has never seen.

    python -m magdiff_jax.evaluate --suite miniature --model runs/miniature/magdiff/model --out evaluation

Each case is a clip of EmojiMotion whose truth is known to the pixel: generated from its subject's picture and caption,
and edited onto another background. The folder --out gets results.json with every case, table.txt, and two pictures to
look at, generation.png and editing.png.
"""

import argparse
import json
from pathlib import Path

from magdiff_jax import __version__, commands, runtime
from magdiff_jax.errors import UserError
from magdiff_jax.evaluation import GUIDANCE_SCALE, STEPS
from magdiff_jax.evaluation.sheet import sheet
from magdiff_jax.media.images import write_image
from magdiff_jax.replacing import check_replaceable, check_writable, replacing

MARK = "results.json"


def make_parser() -> commands.Parser:
    parser = commands.Parser(
        prog="python -m magdiff_jax.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--suite", choices=("miniature",), required=True, help="what to measure")
    commands.add_model_flag(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    parser.add_argument("--cases", type=int, default=216, metavar="N", help="how many (default: 216)")
    parser.add_argument("--batch", type=int, default=24, metavar="N", help="clips made at once (default: 24)")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others' follow (default: 0)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"DDIM steps (default: {STEPS})")
    parser.add_argument(
        "--guidance-scale", type=float, default=GUIDANCE_SCALE, help=f"of the prompt (default: {GUIDANCE_SCALE:g})"
    )
    return parser


def main(arguments: list[str]) -> None:
    args = make_parser().parse_args(arguments)
    if args.cases < 1 or args.batch < 1:
        raise UserError("--cases and --batch: at least 1")
    if not args.out.absolute().parent.is_dir():
        raise UserError(f"{args.out.parent} is not a folder: create it or choose another --out")
    if args.out.exists() and not args.overwrite:
        raise UserError(f"{args.out} exists: choose another --out or add --overwrite")
    check_replaceable(args.out, MARK)
    check_writable(args.out)
    runtime.prepare()
    runtime.devices()

    from magdiff_jax.evaluation import miniature
    from magdiff_jax.pipeline import MagDiff

    pipe = MagDiff.load(args.model)
    settings = {"steps": args.steps, "guidance_scale": args.guidance_scale}
    results = miniature.evaluate(pipe, args.cases, args.batch, args.seed, settings)
    table = "\n\n".join(miniature.tables(results))
    with replacing(args.out) as new:
        new.mkdir()
        made_by = {"program": f"magdiff_jax {__version__}", "model": pipe.fingerprint}
        record = {**made_by, "cases": args.cases, "seed": args.seed, **settings, **miniature.to_json(results)}
        (new / MARK).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (new / "table.txt").write_text(table + "\n", encoding="utf-8")
        for task, result in results.items():
            write_image(new / f"{task}.png", sheet(result.shown))
    print(table)
    print(f"{args.out}: results.json, table.txt, {' and '.join(f'{task}.png' for task in results)}")


if __name__ == "__main__":
    commands.run(main)
