"""From folders of videos with captions to records with the subject's label and masks (supplement, section C).

    python -m magdiff_jax.data.prepare --config configs/data/weightless.py --out data/records --workers 2 \\
        --config.splits.train.folder=videos --config.splits.train.captions=captions.csv

With an empty --config.splits.train.captions= the caption of each video is in NAME.txt beside it.

The records are `OUT/NAME/1.0.0`; beside them, rejected.jsonl says of each clip that was put aside by which rule and
why, and summary.json counts. A run that was stopped goes on where it was when it is started again.
"""

import argparse
import logging
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from magdiff_jax import commands
from magdiff_jax.config_file import HELP, read_config, split_overrides
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require
from magdiff_jax.replacing import check_fillable
from magdiff_jax.text import parse_json, read_text

# Beam's DirectRunner would look for a program on the network first, and then run this.
_RUNNERS = {"DirectRunner": "FnApiRunner"}


def make_parser() -> commands.Parser:
    parser = commands.Parser(
        prog="python -m magdiff_jax.data.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help=HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of data sets")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where this data set is there already")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="threads here, each with models of its own (default: 1)"
    )
    parser.add_argument(
        "--runner", default="DirectRunner", metavar="NAME", help="Apache Beam's runner (default: DirectRunner, here)"
    )
    parser.add_argument("beam", nargs="*", metavar="-- FLAG", help="flags for Beam and its runner, after --")
    return parser


def main(arguments: list[str]) -> None:
    arguments, overrides = split_overrides(arguments)
    args = make_parser().parse_args(arguments)
    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: must be at least 1")
    values = read_config(args.config, overrides)
    logging.getLogger().setLevel(logging.ERROR)  # Beam's own account of its workers
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # a worker's exception ends the run, and is told there
    if not sys.stderr.isatty():
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()

    require("prepare", "apache_beam")
    from magdiff_jax.data.prepare import pipeline
    from magdiff_jax.data.prepare.config import PrepareConfig
    from magdiff_jax.data.prepare.dataset import SUMMARY, write_dataset
    from magdiff_jax.data.prepare.store import Store
    from magdiff_jax.data.sources import open_source

    config = PrepareConfig.from_dict(values)
    videos = {split: len(open_source(spec)) for split, spec in config.splits.items()}
    folder = args.out / config.name
    check_fillable(folder)
    if args.overwrite:
        _remove(folder)
    if (folder / SUMMARY).is_file():
        summary = _read_summary(folder / SUMMARY)
        if summary["fingerprint"] != config.fingerprint():
            raise UserError(f"{folder} was made with another config: choose another --out or add --overwrite")
        if {split: counts["videos"] for split, counts in summary["splits"].items()} != videos:
            raise UserError(f"{folder} was made when its sources had other videos: add --overwrite to make it anew")
    else:
        store = Store(folder / "work")
        store.begin(config.fingerprint())
        options = [*_here(args.workers), *args.beam]
        with _progress(store, None if config.cut.all_parts else sum(videos.values())):
            every = [(split, index) for split, count in videos.items() for index in range(count)]
            pipeline.run(config, every, store, _RUNNERS.get(args.runner, args.runner), options)
        summary = write_dataset(config, videos, store, args.out)
        shutil.rmtree(store.folder)
    _report(summary, folder)


def _read_summary(path: Path) -> dict[str, Any]:
    """What `write_dataset` wrote last. Raises UserError where it is damaged."""
    summary = parse_json(read_text(path), str(path))
    try:
        whole = all({"videos", "clips", "null_masks", "rejected"} <= set(part) for part in summary["splits"].values())
        whole &= "fingerprint" in summary
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{path} is damaged: add --overwrite to make the data set anew")
    return summary


def _here(workers: int) -> list[str]:
    """Beam's flags for this machine: so many threads, which the libraries that do the work let run beside each other.

    In its modes with "multi" in their names Beam listens on all of the machine's network addresses.
    """
    return [f"--direct_num_workers={workers}", "--direct_running_mode=in_memory"]


@contextmanager
def _progress(store: Any, total: int | None) -> Iterator[None]:
    """A bar that counts outcomes, whoever writes them."""
    done = threading.Event()

    def watch() -> None:
        with tqdm(total=total, unit=" clips", disable=None) as bar:
            while True:
                last = done.wait(1)
                bar.update(store.count() - bar.n)
                if last:
                    return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _remove(folder: Path) -> None:
    """Remove an older data set of this name, or what a run has left of one."""
    if not folder.exists():
        return
    ours = ("work", "1.0.0", "rejected.jsonl", "summary.json")
    others = sorted(path.name for path in folder.iterdir() if not path.name.endswith(ours))
    if others:
        raise UserError(f"{folder} holds something else ({', '.join(others[:3])}) and is not removed")
    shutil.rmtree(folder)


def _report(summary: dict[str, Any], folder: Path) -> None:
    for split, counts in summary["splits"].items():
        rejected = ", ".join(f"{count} {rule}" for rule, count in counts["rejected"].items())
        print(
            f"{split}: {counts['clips']} clips, {counts['null_masks']} of them with a null mask; "
            f"put aside: {rejected or 'none'}"
        )
    print(folder / "1.0.0", folder / "rejected.jsonl", folder / "summary.json", sep="\n")


if __name__ == "__main__":
    commands.run(main)
