"""From folders of videos with captions to records with the subject's label and masks (supplement, section C).

    python -m magdiff_jax.data.prepare --config configs/data/weightless.py --out data/records --workers 2 \\
        --config.splits.train.folder=videos --config.splits.train.captions=captions.csv

With an empty --config.splits.train.captions= the caption of each video is in NAME.txt beside it.

The records are `OUT/NAME/1.0.0`; beside them, rejected.jsonl says of each clip that was put aside by which rule and
why, and summary.json counts. A run that was stopped goes on where it was when it is started again.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from magdiff_jax import commands
from magdiff_jax.config_file import HELP, read_config, split_overrides
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require
from magdiff_jax.places import Place, is_remote, place, remove_tree
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
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder of data sets, here or in a bucket: gs://… or s3://…"
    )
    parser.add_argument("--overwrite", action="store_true", help="begin anew where this data set is there already")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="threads here, which share the models (default: 1)"
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

    require("prepare", "apache_beam")
    from magdiff_jax.data.prepare import listing, pipeline
    from magdiff_jax.data.prepare.config import PrepareConfig
    from magdiff_jax.data.prepare.dataset import SUMMARY, write_dataset
    from magdiff_jax.data.prepare.label import read_words
    from magdiff_jax.data.prepare.progress import counted
    from magdiff_jax.data.prepare.resolve import resolve
    from magdiff_jax.data.prepare.store import PLAN, Run, Store, key

    beam = _RUNNERS.get(args.runner, args.runner), beam_options(args)
    config = resolve(PrepareConfig.from_dict(values))
    words = read_words(config.words)
    videos = listing.list_videos(config.splits)
    names = listing.names(videos)
    this = Run(config.fingerprint(words), listing.fingerprint(videos))
    folder = place(args.out) / config.name
    if not is_remote(folder):
        check_fillable(folder)
    store = Store(folder / "work")
    if args.overwrite:
        _remove(folder, store)
    if (folder / SUMMARY).is_file():
        summary = _read_summary(folder / SUMMARY)
        if summary["fingerprint"] != this.config:
            raise UserError(f"{folder} was made with another config: choose another --out or add --overwrite")
        if summary["videos"] != this.videos:
            raise UserError(f"{folder} was made when its sources had other videos: add --overwrite to make it anew")
    else:
        store.begin(this, names)
        most_errors = int(config.most_errors * len(videos))
        if not (store.folder / PLAN).exists():
            known = store.known()
            todo = [video for video in videos if (video.split, key(video.id)) not in known]
            with counted(store.count, None if config.cut.all_parts else len(videos), "clips"):
                pipeline.run(config, words, todo, store, most_errors, *beam)
        counts = {split: len(ids) for split, ids in names.items()}
        summary = write_dataset(config, this, counts, store, *beam)
    if store.is_ours():
        store.remove()
    _report(summary, folder)


def _read_summary(path: Place) -> dict[str, Any]:
    """What `write_dataset` wrote last. Raises UserError where it is damaged."""
    summary = parse_json(read_text(path), str(path))
    try:
        whole = all({"videos", "clips", "null_masks", "rejected"} <= set(part) for part in summary["splits"].values())
        whole &= {"fingerprint", "videos"} <= set(summary)
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{path} is damaged: add --overwrite to make the data set anew")
    return summary


def beam_options(args: argparse.Namespace) -> Any:
    """Beam's options: as many threads here, which the libraries that do the work let run beside each other; and the
    flags given.

    Raises:
        UserError: Beam knows no such flag, or not this value.
    """
    from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

    known = _BeamArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for group in PipelineOptions.__subclasses__():
        try:
            group._add_argparse_args(known)
        except argparse.ArgumentError:  # two groups of Beam's share a flag
            continue
    try:
        _, unknown = known.parse_known_args(args.beam)
    except (argparse.ArgumentError, SystemExit) as error:
        raise UserError(f"{' '.join(args.beam)}: {error}; see the flags of Apache Beam's runner") from None
    if unknown:
        raise UserError(f"{unknown[0]}: Apache Beam has no such flag; see those of its runner {args.runner}")
    here = [f"--direct_num_workers={args.workers}", "--direct_running_mode=in_memory"]
    return PipelineOptions([*here, *args.beam])


def _remove(folder: Place, store: Any) -> None:
    """Remove an older data set of this name, or what a run has left of one: what this program made, and marked.

    Raises:
        UserError: there is anything else; nothing is removed then.
    """
    from magdiff_jax.data.prepare.dataset import REJECTED, SUMMARY, is_ours
    from magdiff_jax.data.shards import VERSION

    if not folder.exists():
        return
    parts = {path.name: path for path in folder.iterdir()}
    others = sorted(parts.keys() - {"work", VERSION, REJECTED, SUMMARY})
    others += [VERSION] if VERSION in parts and not is_ours(parts[VERSION]) else []
    others += ["work"] if "work" in parts and not store.is_ours() else []
    if others:
        raise UserError(f"{folder} holds something else ({', '.join(others[:3])}) and is not removed")
    # The summary first: without it, what is left of the rest is no data set.
    for name in (SUMMARY, REJECTED):
        if name in parts:
            parts[name].unlink()
    if VERSION in parts:
        remove_tree(parts[VERSION])
    if "work" in parts:
        store.remove()


def _report(summary: dict[str, Any], folder: Place) -> None:
    for split, counts in summary["splits"].items():
        rejected = ", ".join(f"{count} {rule}" for rule, count in counts["rejected"].items())
        print(
            f"{split}: {counts['clips']} clips, {counts['null_masks']} of them with a null mask; "
            f"put aside: {rejected or 'none'}"
        )
    print(folder / "1.0.0", folder / "rejected.jsonl", folder / "summary.json", sep="\n")


if __name__ == "__main__":
    commands.run(main)
