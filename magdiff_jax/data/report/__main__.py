"""Write one HTML page that shows what is in a data set.

python -m magdiff_jax.data.report --dataset data/emoji_motion --split train
"""

import argparse
from pathlib import Path

from magdiff_jax import commands
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require


def make_parser() -> commands.Parser:
    parser = commands.Parser(
        prog="python -m magdiff_jax.data.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="folder of records")
    parser.add_argument("--split", default="train", metavar="NAME", help="of the data set (default: train)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for index.html and its plots (default: report-SPLIT beside the records)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument("--clips", type=int, default=12, help="on the contact sheet (default: 12)")
    return parser


def main(arguments: list[str]) -> None:
    args = make_parser().parse_args(arguments)
    require("data", "matplotlib", "wordcloud", "jinja2")
    from magdiff_jax.data.records import RecordSource, dataset_folder
    from magdiff_jax.data.report.about import about_records, find_rejected
    from magdiff_jax.data.report.statistics import read_rejected

    source = RecordSource(args.dataset, args.split)
    out = args.out or dataset_folder(args.dataset) / f"report-{args.split}"
    if out.exists() and not args.overwrite:
        raise UserError(f"{out} exists: choose another --out or add --overwrite")
    about = about_records(args.dataset, args.split)
    record = find_rejected(args.dataset)
    rejected = None if record is None else read_rejected(record, args.split)

    from magdiff_jax.data.report.page import make_report

    print(make_report(source, out, about, rejected, args.clips))


if __name__ == "__main__":
    commands.run(main)
