"""Train MagDiff, its text-to-video base, a VAE or a CLIP pair, on one device or on many.

    python -m magdiff_jax.train --config configs/small.py --workdir runs/small [--config.steps=100 …]

The run's folder holds all that it writes: checkpoints, metrics.jsonl, TensorBoard files, samples. Started again, a run
goes on from its last good checkpoint, on whatever devices and processes there are. SIGTERM saves it first. Several
processes are found by themselves under Slurm, on TPU pods and on GKE; elsewhere give the three flags.
"""

import argparse
import json
import sys
from pathlib import Path

from magdiff_jax import commands, runtime
from magdiff_jax.config_file import HELP, read_config, split_overrides
from magdiff_jax.errors import UserError
from magdiff_jax.replacing import check_fillable, replacing
from magdiff_jax.weights.files import read_json

# Frames a second of the sample clips.
FPS = 8


def make_parser() -> commands.Parser:
    parser = commands.Parser(
        prog="python -m magdiff_jax.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help=HELP)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument(
        "--profile", default="", metavar="START:STEPS", help="trace these steps into DIR/profile, for TensorBoard"
    )
    commands.add_process_flags(parser)
    return parser


def main(arguments: list[str]) -> None:
    arguments, overrides = split_overrides(arguments)
    args = make_parser().parse_args(arguments)
    values = read_config(args.config, overrides)

    runtime.prepare()
    import jax

    from magdiff_jax.sharding import distributed
    from magdiff_jax.tokenizer import Tokenizer
    from magdiff_jax.training import overview
    from magdiff_jax.training.cache import read_cache
    from magdiff_jax.training.checkpoints import Checkpoints
    from magdiff_jax.training.config import TrainConfig
    from magdiff_jax.training.devices import peak_flops
    from magdiff_jax.training.feed import Feed
    from magdiff_jax.training.log import NotFiniteError, RunLog
    from magdiff_jax.training.profile import Profiler
    from magdiff_jax.training.start import load_start, make_start, networks_of
    from magdiff_jax.training.trainer import Trainer, model_flops
    from magdiff_jax.training.validation import Validation

    # ---------------------------------------------------------------- config and mesh: all mistakes show here
    profiler = Profiler(args.workdir / "profile", args.profile)
    config = TrainConfig.from_dict(values)
    networks = networks_of(config)
    distributed.start(args.coordinator, args.processes, args.process)
    trainer = Trainer(config, networks, runtime.devices())
    first = jax.process_index() == 0
    say = print if first else (lambda *_, **__: None)
    if config.cache:
        read_cache(trainer)
    _claim(args.workdir, config.to_dict(), config.fingerprint(), writes=first)

    # ---------------------------------------------------------------- weights, state, data
    start = make_start(config, trainer, args.workdir)
    params, frozen = load_start(start, trainer)
    tokenizer = Tokenizer(start / "tokenizer", trainer.text_length)
    constants = trainer.make_constants(frozen, tokenizer.ids([""]))
    say(overview.summary(params, frozen), file=sys.stderr)
    if first:
        with replacing(args.workdir / "parameters.txt") as new:
            new.write_text(overview.listing(params, frozen), encoding="utf-8")

    # ---------------------------------------------------------------- state, data, loop
    with (
        Checkpoints(args.workdir / "checkpoints", config.checkpoints.keep) as checkpoints,
        Feed(trainer, tokenizer.ids, frozen, start) as feed,
        profiler,
        distributed.Preemption() as preemption,
    ):
        validation = Validation(trainer, tokenizer.ids)
        if (restored := checkpoints.restore(trainer.abstract_state())) is not None:
            done, state, loss = restored.step, restored.state, restored.extra["validation_loss"]
            feed.set_state(restored.extra["data"])
            say(f"going on from step {done} of {config.steps}", file=sys.stderr)
        else:
            done, state, loss = 0, trainer.make_state(params), None
        del params, restored  # the state has them

        def save(step: int) -> None:
            extra = {"data": feed.get_state(), "config": config.to_dict(), "validation_loss": loss}
            checkpoints.save(step, state, extra, loss)

        log = RunLog(
            args.workdir,
            config.steps,
            done,
            every=config.log_every,
            clips=config.batch_size,
            flops=model_flops(trainer),
            peak=peak_flops(jax.devices()[0].device_kind, config.precision.compute),
            writes=first,
        )
        with log:
            step, saved = done, done
            try:
                for step in range(done + 1, config.steps + 1):
                    profiler.before(step)
                    fed = feed.next(step - 1)
                    state, metrics = trainer.step(state, frozen, constants, fed.encoded)
                    profiler.after(step, metrics)
                    log.step(step, {**metrics, **fed.counts}, fed.ids)
                    if _is_due(step, config.validation.every, config.steps) and config.validation.sources:
                        with log.paused():
                            scores = validation.loss(state, frozen, constants)
                            log.scalars(step, {f"validation/{name}": score for name, score in scores.items()})
                            loss = scores["loss"]
                    if _is_due(step, config.validation.sample_every, config.steps) and config.validation.sources:
                        with log.paused():
                            for name, clip in validation.samples(state, frozen, constants):
                                log.clip(step, name, clip, FPS)
                    told = preemption.reached()
                    if told or _is_due(step, config.checkpoints.every, config.steps):
                        with log.paused():
                            save(step)
                            saved = step
                    if told:
                        checkpoints.wait()
                        say(f"stopped by SIGTERM after step {step}, saved; the same command goes on from there")
                        return
            except NotFiniteError as error:
                if saved < step:
                    save(step)
                checkpoints.wait()
                raise UserError(f"{error}; the run is saved at step {step}") from error
    say(f"{args.workdir}: {config.steps} steps done; python -m magdiff_jax.export makes a model of it")


def _is_due(step: int, every: int, steps: int) -> bool:
    """Every so many steps and at the end; 0: never."""
    return every > 0 and (step % every == 0 or step == steps)


def _claim(workdir: Path, config: dict, fingerprint: str, writes: bool) -> None:
    """Make a run's folder, or check that it is this run's."""
    path = workdir / "config.json"
    if path.is_file():
        found = read_json(path).get("fingerprint")
        if found != fingerprint:
            raise UserError(
                f"{workdir} is the folder of a run with another config (see {path}): choose another --workdir"
            )
    if writes:
        if workdir.exists() and not path.is_file() and any(workdir.iterdir()):
            raise UserError(f"{workdir} holds something else: choose another --workdir")
        check_fillable(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            text = json.dumps({"fingerprint": fingerprint, "config": config}, indent=2)
            new.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    commands.run(main)
