"""Training steps a second with and without a cache of the frozen encoders' outputs: `python -m benchmarks.cache`.

configs/small.py, all networks fresh, in turns in one process; and the encoders' share of the FLOPs at full size.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import GIGA
from configs import magdiff_sd21_256, small
from magdiff_jax import runtime
from magdiff_jax.commands import run

EXAMPLES = 256


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each, in turns (default: 7)")
    parser.add_argument("--steps", type=int, default=10, help="of a round of each (default: 10)")
    args = parser.parse_args(arguments)
    runtime.prepare()
    with tempfile.TemporaryDirectory() as folder:
        seconds, size = measure(Path(folder), args.rounds, args.steps)
    ratios = [live / cached for live, cached in zip(*seconds.values(), strict=True)]
    for name, each in seconds.items():
        print(f"{name:8}{1 / statistics.median(each):8.2f} steps/s")
    print(
        f"cached / live: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); {size:.1f} kB each"
    )
    encoders, step = full_size()
    print(f"full size, a clip: encoders {encoders:.2f} TFLOP, the rest of the step {step:.2f} TFLOP")


def measure(folder: Path, rounds: int, steps: int) -> tuple[dict[str, list[float]], float]:
    """Seconds of a step in each round, by kind of run, and kB of a cached example."""
    import jax

    from magdiff_jax.tokenizer import Tokenizer
    from magdiff_jax.training.caching import make_cache
    from magdiff_jax.training.feed import Feed
    from magdiff_jax.training.start import load_start, make_start

    cache = folder / "cache"
    trainers = {"live": small_trainer(""), "cached": small_trainer(str(cache))}
    trainer = trainers["live"]
    size = make_cache(trainer, cache, EXAMPLES) / EXAMPLES / 1e3
    start = make_start(trainer.config, trainer, folder)
    params, frozen = load_start(start, trainer)
    tokenizer = Tokenizer(start / "tokenizer", trainer.text_length)
    constants = trainer.make_constants(frozen, tokenizer.ids([""]))
    state = trainer.make_state(params)
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    with (
        Feed(trainers["live"], tokenizer.ids, frozen, start) as live,
        Feed(trainers["cached"], tokenizer.ids, frozen, start) as cached,
    ):
        for index in range(rounds + 1):  # the first one compiles
            for name, feed in (("live", live), ("cached", cached)):
                began = time.perf_counter()
                for step in range(steps):
                    state, metrics = trainer.step(state, frozen, constants, feed.next(step).encoded)
                jax.block_until_ready(metrics)
                if index:
                    seconds[name].append((time.perf_counter() - began) / steps)
    return seconds, size


def small_trainer(cache: str) -> Any:
    import jax

    from magdiff_jax.training.config import TrainConfig
    from magdiff_jax.training.start import networks_of
    from magdiff_jax.training.trainer import Trainer

    values = small.get_config().to_dict()
    values |= {"start": {"networks": small.NETWORKS, "tokenizer": "captions"}, "cache": cache}
    config = TrainConfig.from_dict(values)
    return Trainer(config, networks_of(config), jax.devices())


def full_size() -> tuple[float, float]:
    """TFLOP of one clip in the frozen encoders and in the training step, as `count_flops` counts."""
    import jax

    from magdiff_jax.models import COMPONENTS, UNetConfig
    from magdiff_jax.training.config import TrainConfig
    from magdiff_jax.training.flops import count_flops
    from magdiff_jax.training.trainer import Trainer, model_flops

    values = magdiff_sd21_256.get_config().to_dict()
    config = TrainConfig.from_dict({**values, "batch_size": 1})
    networks = {name: kind() for name, (_, kind) in COMPONENTS.items()}
    networks["unet"] = UNetConfig(hfa_levels=(384, 320, 256))
    trainer = Trainer(config, networks, jax.devices()[:1])
    encode = trainer.encode.trace(trainer.abstract_frozen(), trainer.abstract_inputs())
    return count_flops(encode.jaxpr.jaxpr) / GIGA / 1e3, model_flops(trainer) / GIGA / 1e3


if __name__ == "__main__":
    run(main)
