#!/usr/bin/env python
"""The paper's ablation in miniature: each variant trained from the same base for as many steps, then measured.

Needs runs/miniature/base/model, the third stage of `make miniature`. Goes on where it was stopped. Writes table.md and
a picture of the first cases, made by every variant, into --out.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from magdiff_jax.commands import call, run
from magdiff_jax.evaluation.sheet import Shown, sheet

# Configs of configs/miniature/ablation, and what they are called.
VARIANTS = {
    "full": "full MagDiff",
    "one_level": "HFA with one level",
    "no_sda": "without SDA",
    "no_apa": "without APA",
    "no_hfa": "without HFA",
    "text_only": "text alone",
}
# Metrics of results.json: task, name, heading, digits.
COLUMNS = (
    ("generation", "identity/pixels", "identity, pixels", 2),
    ("generation", "identity/clip", "identity, CLIP", 2),
    ("generation", "motion", "motion", 2),
    ("generation", "colour", "colour", 2),
    ("generation", "texture", "texture", 2),
    ("editing", "psnr", "edit: PSNR, dB", 1),
    ("editing", "colour", "edit: colour", 2),
    ("editing", "track_error", "edit: track error, px", 2),
)
SHOWN = 5
SETTINGS = {"steps": 25, "guidance_scale": 3.0}


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
            sizes = (
                "--cases",
                args.cases,
                "--steps",
                SETTINGS["steps"],
                "--guidance-scale",
                SETTINGS["guidance_scale"],
            )
            call(
                "magdiff_jax.evaluate",
                "--suite",
                "miniature",
                "--model",
                folder / "model",
                *sizes,
                "--out",
                folder / "evaluation",
            )
    done = [name for name in VARIANTS if (args.out / name / "evaluation").exists()]
    (args.out / "table.md").write_text(table(args.out, done), encoding="utf-8")
    Image.fromarray(sheet(shown(args.out, done))).save(args.out / "ablation.png")
    print(f"{args.out}: table.md, ablation.png")


def table(out: Path, variants: Sequence[str]) -> str:
    """Means with their 95 % intervals, in Markdown."""
    lines = ["| |" + "".join(f" {heading} |" for *_, heading, _ in COLUMNS), "|---|" + "---|" * len(COLUMNS)]
    for variant in variants:
        results = json.loads((out / variant / "evaluation/results.json").read_text(encoding="utf-8"))
        cells = []
        for task, name, _, digits in COLUMNS:
            figures = {figure["name"]: figure for figure in results.get(task, {}).get("figures", ())}
            if name in figures:
                mean, low, high = (f"{figures[name][key]:.{digits}f}" for key in ("mean", "low", "high"))
                cells.append(f"{mean} ({low} to {high})")
            else:
                cells.append("")
        lines.append(f"| {VARIANTS[variant]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
        for line, clip in zip(lines, pipe.generate(prompts, *subjects, seed=0, **SETTINGS), strict=True):
            line.append((VARIANTS[variant], clip))
    return list(map(Shown, prompts, lines))


if __name__ == "__main__":
    run(main)
