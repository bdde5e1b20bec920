"""Make a MagDiff folder, as `generate` and `edit` take it, of a training run's checkpoint.

    python -m magdiff_jax.export --workdir runs/small --out models/small

The parameters' moving average is taken where the run keeps one, else the parameters themselves. What was frozen comes
from the folder that the run started from.
"""

import argparse
from pathlib import Path
from typing import Any

from magdiff_jax import commands, runtime
from magdiff_jax.config import COMPUTE_DTYPES
from magdiff_jax.errors import UserError
from magdiff_jax.replacing import check_writable
from magdiff_jax.weights.files import read_json


def make_parser() -> commands.Parser:
    parser = commands.Parser(
        prog="python -m magdiff_jax.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the MagDiff folder to make")
    parser.add_argument("--step", type=int, help="of the checkpoint (default: the last good one)")
    parser.add_argument("--without-average", action="store_true", help="take the parameters, not their moving average")
    parser.add_argument(
        "--dtype", choices=COMPUTE_DTYPES, help="of the files (default: float32; what was frozen stays as it is)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older MagDiff folder")
    return parser


def main(arguments: list[str]) -> None:
    args = make_parser().parse_args(arguments)
    values = read_run(args.workdir)
    if args.out.exists() and not args.overwrite:
        raise UserError(f"{args.out} exists: choose another --out or add --overwrite")
    check_writable(args.out)

    runtime.prepare()
    runtime.devices()
    from magdiff_jax.training.config import TrainConfig
    from magdiff_jax.training.export import export

    config = TrainConfig.from_dict(values)
    step = export(config, args.workdir, args.out, args.step, not args.without_average, args.dtype)
    print(f"{args.out}: the model after step {step}")


def read_run(workdir: Path) -> dict[str, Any]:
    """The config that a run wrote into its folder. Raises UserError where it is no run's folder."""
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; --workdir is the folder of a training run")
    config = read_json(path).get("config")
    if not isinstance(config, dict):
        raise UserError(f"{path} is not the config of a training run; start the run again to have it written")
    return config


if __name__ == "__main__":
    commands.run(main)
