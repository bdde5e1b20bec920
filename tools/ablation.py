#!/usr/bin/env python
"""The paper's ablation in miniature: each variant trained from the same base for as many steps, then measured.

Goes on where it was stopped. Writes table.md and a picture of the first cases, made by every variant, into --out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
SHOWN = 5


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
    write_image(args.out / "ablation.png", sheet(shown(args.out, done)))
    print(f"{args.out}: table.md, ablation.png")


def shown(out: Path, variants: Sequence[str]) -> list[Shown]:
    """The first cases as every variant generates them from the same noise."""
    from magdiff_jax import runtime

    runtime.prepare()
    from magdiff_jax.evaluation.cases import cases
    from magdiff_jax.pipeline import MagDiff, takes_subjects

    first = cases(SHOWN, 32)
    given = [(case.clip.frames([0])[0], case.clip.masks([0])[0]) for case in first]
    prompts = [case.clip.info.augmented_caption for case in first]
    lines: list[list[tuple[str, np.ndarray]]] = [[("subject", picture[None])] for picture, _ in given]
    for variant in variants:
        pipe = MagDiff.load(out / variant / "model")
        subjects = tuple(zip(*given, strict=True)) if takes_subjects(pipe.unet.config) else ()
        for line, clip in zip(
            lines, pipe.generate(prompts, *subjects, seed=0, steps=STEPS, guidance_scale=GUIDANCE_SCALE), strict=True
        ):
            line.append((VARIANTS[variant], clip))
    return list(map(Shown, prompts, lines))


if __name__ == "__main__":
    run(main)
