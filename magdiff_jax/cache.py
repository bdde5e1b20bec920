"""Cache what the frozen encoders make of a training run's data, so that its steps do without them.

    python -m magdiff_jax.cache --config configs/small.py --out caches/small --examples 10000
    python -m magdiff_jax.train --config configs/small.py --workdir runs/small --config.cache=caches/small

An example keeps its frames, crop and augmentation from pass to pass; ask for several times as many examples as there
are clips to have several of each. The same command goes on where an earlier one was stopped.
"""

import argparse
from pathlib import Path

from magdiff_jax import commands, runtime
from magdiff_jax.config import ConfigError
from magdiff_jax.config_file import HELP, read_config, split_overrides
from magdiff_jax.errors import UserError


def make_parser() -> commands.Parser:
    parser = commands.Parser(
        prog="python -m magdiff_jax.cache",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help=HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the cache's folder")
    parser.add_argument("--examples", type=int, required=True, metavar="N", help="how many to cache")
    commands.add_process_flags(parser)
    return parser


def main(arguments: list[str]) -> None:
    arguments, overrides = split_overrides(arguments)
    args = make_parser().parse_args(arguments)
    values = read_config(args.config, overrides)
    if args.examples < 1:
        raise UserError(f"--examples {args.examples}: must be at least 1")

    runtime.prepare()
    import jax

    from magdiff_jax.sharding import distributed
    from magdiff_jax.training.caching import make_cache
    from magdiff_jax.training.config import TrainConfig
    from magdiff_jax.training.start import networks_of
    from magdiff_jax.training.trainer import Trainer

    config = TrainConfig.from_dict(values)
    if config.objective != "diffusion":
        raise ConfigError(f"objective = {config.objective!r}: has no frozen encoders; there is nothing to cache")
    networks = networks_of(config)
    distributed.start(args.coordinator, args.processes, args.process)
    size = make_cache(Trainer(config, networks, runtime.devices()), args.out, args.examples)
    if jax.process_index() == 0:
        each = size / args.examples
        print(f"{args.out}: {args.examples:,} examples, {size / 1e9:.2f} GB ({each / 1e3:.1f} kB each)")


if __name__ == "__main__":
    commands.run(main)
