#!/usr/bin/env python
"""The paper's ablation in miniature: each variant trained from the same base for as many steps, then measured.

Goes on where it was stopped. Writes table.md and, of the first cases, what every variant made of them into --out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from magdiff_jax.commands import call, run
from magdiff_jax.evaluation import GUIDANCE_SCALE, STEPS
from magdiff_jax.evaluation.comparison import comparison, differences
from magdiff_jax.evaluation.sheet import Shown, sheet
from magdiff_jax.media.images import write_image

# Configs of configs/miniature/ablation, and what they are called.
VARIANTS = {
    "full": "full MagDiff",
    "one_level": "HFA with one level",
    "no_sda": "without SDA",
    "no_apa": "without APA",
    "no_hfa": "without HFA",
    "text_only": "text alone",
}
SHOWN = 4


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder (default: runs/ablation)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="default: all")
    parser.add_argument("--cases", type=int, default=216, help="to measure with (default: 216)")
    args = parser.parse_args(arguments)
    for variant in args.variants:
        folder = args.out / variant
        config = f"configs/miniature/ablation/{variant}.py"
        call("magdiff_jax.train", "--config", config, "--workdir", folder)
        if not (folder / "evaluation").exists():
            call("magdiff_jax.export", "--workdir", folder, "--out", folder / "model", "--overwrite")
            measured = ("--cases", args.cases, "--out", folder / "evaluation")
            call("magdiff_jax.evaluate", "--suite", "miniature", "--model", folder / "model", *measured)
    done = [name for name in VARIANTS if (args.out / name / "evaluation").exists()]
    folders = {VARIANTS[name]: args.out / name / "evaluation" for name in done}
    (args.out / "table.md").write_text(f"{comparison(folders)}\n{differences(folders)}", encoding="utf-8")
    sheets = shown(args.out, done)
    for task, first in sheets.items():
        write_image(args.out / f"{task}.png", sheet(first))
    print(f"{args.out}: table.md, {', '.join(f'{task}.png' for task in sheets)}")


def shown(out: Path, variants: Sequence[str]) -> dict[str, list[Shown]]:
    """By task, the first cases as every variant that does it makes them from the same noise."""
    from magdiff_jax import runtime

    runtime.prepare()
    from magdiff_jax.evaluation.miniature import evaluate
    from magdiff_jax.pipeline import MagDiff

    settings = {"steps": STEPS, "guidance_scale": GUIDANCE_SCALE}
    made: dict[str, dict[str, list[Shown]]] = {}
    for variant in variants:
        for task, result in evaluate(MagDiff.load(out / variant / "model"), SHOWN, SHOWN, 0, settings).items():
            made.setdefault(task, {})[VARIANTS[variant]] = result.shown
    return {
        task: [_beside(list(those), same) for same in zip(*those.values(), strict=True)] for task, those in made.items()
    }


def _beside(labels: Sequence[str], same: Sequence[Shown]) -> Shown:
    """One case of several variants: what was given, and what each made of it."""
    given, _ = same[0].lines
    return Shown(same[0].caption, [given, *((label, one.lines[1][1]) for label, one in zip(labels, same, strict=True))])


if __name__ == "__main__":
    run(main)
