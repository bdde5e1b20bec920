#!/usr/bin/env python
"""What guidance, steps and seeds do to a miniature's figures: the suite again and again, one setting changed at a time.

Goes on where it was stopped. Writes a folder for each setting, and table.md, into --out.
"""

import argparse
from pathlib import Path

from magdiff_jax import commands
from magdiff_jax.evaluation.comparison import comparison

# The first row is what the others differ from: the suite's own settings. A case's seed is --seed and its number.
SETTINGS = {
    "guidance 2, 25 steps, seeds from 0": {},
    "guidance 1": {"guidance-scale": 1},
    "guidance 3": {"guidance-scale": 3},
    "guidance 5": {"guidance-scale": 5},
    "guidance 7.5": {"guidance-scale": 7.5},
    "10 steps": {"steps": 10},
    "50 steps": {"steps": 50},
    "100 steps": {"steps": 100},
    "seeds from 1,000": {"seed": 1_000},
    "seeds from 2,000": {"seed": 2_000},
}


def main(arguments: list[str]) -> None:
    parser = commands.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands.add_model_flag(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/sweep"), help="folder (default: runs/sweep)")
    parser.add_argument("--cases", type=int, default=72, help="to measure with (default: 72)")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    folders = {}
    for label, changed in SETTINGS.items():
        folder = folders[label] = args.out / label.replace(" ", "-").replace(",", "")
        flags = [f"--{name}={value}" for name, value in changed.items()]
        if not folder.exists():
            given = ("--suite", "miniature", "--model", args.model, "--cases", args.cases, "--out", folder)
            commands.call("magdiff_jax.evaluate", *given, *flags)
    (args.out / "table.md").write_text(comparison(folders), encoding="utf-8")
    print(f"{args.out}: table.md")


if __name__ == "__main__":
    commands.run(main)
