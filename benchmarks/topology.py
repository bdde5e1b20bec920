"""A run's full-size programs compiled for a TPU slice that is not there: what they need and how fast they can be.

    python -m benchmarks.topology --topology v5e:4x4 --config configs/magdiff_sd21_256_tpu.py --config.batch_size=16

Needs no TPU but its compiler, `pip install 'jax[tpu]'`, and gigabytes of memory. Memory, collectives and traffic are
read from the compiled program, FLOPs are counted in the traced one, and times follow from the chip's public figures
(`roofline`): the least that is possible, measured nowhere. What the table in docs/topologies.md says is made of these.
"""

import argparse
import dataclasses
import json
import math
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import roofline
from benchmarks.hlo import Program
from benchmarks.roofline import Work
from magdiff_jax import commands
from magdiff_jax.config import Config
from magdiff_jax.config_file import HELP, read_config, split_overrides
from magdiff_jax.errors import UserError
from magdiff_jax.replacing import replacing

GIGA = 1e9


class Traced(NamedTuple):
    """A program before it is compiled.

    Attributes:
        name: of the program.
        traced: what `jax.jit(…).trace` gives.
        useful: FLOPs on each device without those of activations that are computed a second time.
        held: by what they are, all arrays that lie on the devices meanwhile, as shapes that know where.
        parts: in which the clips are worked off.
    """

    name: str
    traced: Any
    useful: float
    held: Mapping[str, Any]
    parts: int


class Report(NamedTuple):
    """A compiled program: bytes, FLOPs and collectives of each device.

    Attributes:
        program: its name.
        devices: how many.
        mesh: devices along each axis.
        clips: of a run of the program, on all devices.
        parts: in which they are worked off.
        memory: bytes by what they hold.
        work: see `Work`.
        exchanges: see `hlo.Exchange`.
        compile_seconds: how long it took.
        effort: of the compiler, see --effort.
    """

    program: str
    devices: int
    mesh: dict[str, int]
    clips: int
    parts: int
    memory: dict[str, float]
    work: Work
    exchanges: list[Any]
    compile_seconds: float
    effort: float


def make_parser() -> commands.Parser:
    parser = commands.Parser(
        prog="python -m benchmarks.topology",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--topology", required=True, metavar="CHIP:AxB", help="v5e:4x4, v5p:2x2x4 or v6e:8x8, say")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help=HELP)
    program = parser.add_mutually_exclusive_group()
    program.add_argument("--encoders", action="store_true", help="the frozen encoders, not the training step")
    program.add_argument("--sampling", action="store_true", help="a guided DDIM step of batch_size requests")
    parser.add_argument(
        "--effort",
        type=float,
        default=-1.0,
        metavar="E",
        help="of the compiler, from -1 (in a tenth of the time; keeps less on the chip, so that memory and traffic are "
        "upper bounds) to 0 (as for a real run); default: -1",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the compiler, such as xla_jf_spmd_threshold_for_windowed_einsum_mib=1000000; may stand several times",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    return parser


def main(arguments: list[str]) -> None:
    arguments, overrides = split_overrides(arguments)
    args = make_parser().parse_args(arguments)
    try:
        roofline.parse(args.topology)
    except ValueError as error:
        raise UserError(f"--topology {error}") from None
    options = dict(option.partition("=")[::2] for option in args.option)
    if not all(options.values()):
        raise UserError("--option: write NAME=VALUE")
    values = read_config(args.config, overrides)

    devices = topology_devices(args.topology)
    from magdiff_jax.training.config import TrainConfig
    from magdiff_jax.training.trainer import Trainer

    config = TrainConfig.from_dict(values)
    trainer = Trainer(config, networks_of(config), devices)
    traced = sampling(trainer) if args.sampling else encoders(trainer) if args.encoders else training(trainer)
    report = compile_report(trainer, traced, args.effort, options)
    print(describe(report, args.topology))
    if args.json:
        with replacing(args.json) as new:
            new.write_text(json.dumps(to_json(report, args.topology), indent=1) + "\n", encoding="utf-8")


def topology_devices(topology: str) -> list[Any]:
    """The devices of a slice, to compile for. Raises UserError where the compiler is missing or knows no such slice."""
    # The compiler must not look for a TPU, nor for the cloud machine that it would be attached to.
    for name, value in {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(topology, "tpu").devices)
    except ModuleNotFoundError:
        raise UserError("TPUs' compiler is not installed: pip install 'jax[tpu]'") from None
    except Exception as error:  # whatever the plugin says
        raise UserError(f"--topology {topology}: {' '.join(str(error).split())[:300]}") from None


def networks_of(config: Any) -> dict[str, Config]:
    """The run's networks; of a start folder that is not here, the paper's."""
    from magdiff_jax.models import COMPONENTS
    from magdiff_jax.training import start

    if not config.start.folder or Path(config.start.folder).exists():
        return start.networks_of(config)
    print(f"no folder {config.start.folder} here: networks of the paper's sizes in its place")
    sizes = {name: kind().to_dict() for name, (_, kind) in COMPONENTS.items()} | dict(config.start.networks)
    fresh = dataclasses.replace(config.start, folder="", networks=sizes, tokenizer=config.start.tokenizer or "-")
    return start.networks_of(dataclasses.replace(config, start=fresh))


def training(trainer: Any) -> Traced:
    """The training step."""
    import jax

    from magdiff_jax.sharding.mesh import over_batch
    from magdiff_jax.training.trainer import model_flops

    state, frozen, rows = trainer.abstract_state(), trainer.abstract_frozen(), over_batch(trainer.mesh)
    encoded = jax.eval_shape(trainer.encode, frozen, trainer.abstract_inputs())
    held = {
        "trainable parameters": state.params,
        "frozen parameters": frozen,
        "optimizer": (state.opt_state, state.ema),
        "batch": jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=rows), encoded),
    }
    return Traced("training step", trainer.trace_step(), model_flops(trainer), held, trainer.config.accumulate)


def encoders(trainer: Any) -> Traced:
    """The frozen encoders' run before a training step, where their outputs are not cached."""
    from magdiff_jax.training.flops import count_flops

    state, frozen, inputs = trainer.abstract_state(), trainer.abstract_frozen(), trainer.abstract_inputs()
    traced = trainer.encode.trace(frozen, inputs)
    held = {"training's state": state, "frozen parameters": frozen, "batch": inputs}
    useful = count_flops(traced.jaxpr.jaxpr) / trainer.mesh.size
    return Traced("frozen encoders", traced, useful, held, trainer.config.accumulate)


def sampling(trainer: Any) -> Traced:
    """A DDIM step of `batch_size` requests, both branches of the guidance; parameters in the computation's type."""
    import jax
    import jax.numpy as jnp

    from magdiff_jax.denoiser import guided_step
    from magdiff_jax.diffusion.ddim import Steps
    from magdiff_jax.sharding.leaves import to_params
    from magdiff_jax.sharding.mesh import over_batch, replicated
    from magdiff_jax.training.flops import count_flops

    mesh, unet, size = trainer.mesh, trainer.networks["unet"], trainer.config.batch_size
    rows, everywhere = over_batch(mesh), replicated(mesh)
    loader, downscale = trainer.loader_config(), trainer.networks["vae"].config.downscale

    def array(kind: Any, *shape: int, sharding: Any = rows) -> Any:
        return jax.ShapeDtypeStruct(shape, kind, sharding=sharding)

    def clips(count: int, height: int, width: int) -> Any:
        latent = (height // downscale, width // downscale, unet.config.latent_channels)
        return array(jnp.float32, count, loader.frames, *latent)

    def tokens(count: int) -> Any:
        return array(jnp.float32, 2 * size, count, unet.config.cross_attention_dim)

    params = to_params(
        "unet",
        {
            path: array(jnp.dtype(unet.dtype), *leaf.shape, sharding=trainer.shardings[path])
            for path, leaf in trainer.shapes.items()
            if path.startswith("unet/")
        },
    )
    image = tokens(trainer.networks["resampler"].config.num_queries * loader.frames) if unet.config.apa else None
    subject = tuple(clips(2 * size, *level) for level in trainer.level_sizes())
    make_condition = partial(unet.apply, method="condition", placement=trainer.placement)
    condition = jax.eval_shape(make_condition, params, tokens(trainer.text_length), image, subject)
    condition = jax.tree.map(lambda leaf: array(leaf.dtype, *leaf.shape), condition)
    key = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size))
    steps = jax.eval_shape(lambda: Steps(*(jnp.int32(0), *[jnp.float32(0)] * (len(Steps._fields) - 1))))
    steps = jax.tree.map(lambda leaf: array(leaf.dtype, sharding=everywhere), steps)
    step = partial(guided_step, unet, trainer.config.sampling.prediction_type, trainer.placement)
    traced = jax.jit(step, out_shardings=rows).trace(
        params,
        condition,
        clips(size, loader.height, loader.width),
        steps,
        7.5,
        array(key.dtype, size),
        array(jnp.int32, sharding=everywhere),
    )
    useful = count_flops(traced.jaxpr.jaxpr) / mesh.size
    return Traced("guided DDIM step", traced, useful, {"parameters": params, "keys and values": condition}, 1)


def compile_report(
    trainer: Any, program: Traced, effort: float = 0.0, options: Mapping[str, str] | None = None
) -> Report:
    """Compile a program and read from it what it needs; `options` of the compiler, see --option."""
    import jax

    from magdiff_jax.training.flops import count_flops

    lowered = program.traced.lower(lowering_platforms=(trainer.mesh.devices.flat[0].platform,))
    start = time.perf_counter()
    exertion = {"exec_time_optimization_effort": effort} if effort else {}
    compiled = lowered.compile(compiler_options={**exertion, **(options or {})})
    seconds = time.perf_counter() - start

    held = {name: float(sum(map(_bytes_per_device, jax.tree.leaves(arrays)))) for name, arrays in program.held.items()}
    needs: Any = compiled.memory_analysis()
    memory = {
        **held,
        "temporaries": float(needs.temp_size_in_bytes),
        "results beside": float(max(needs.output_size_in_bytes - needs.alias_size_in_bytes, 0)),
        "program": float(needs.generated_code_size_in_bytes),
    }
    text = Program(compiled.as_text())
    exchanges = text.exchanges()
    flops = count_flops(program.traced.jaxpr.jaxpr) / trainer.mesh.size
    work = Work(flops, program.useful, text.traffic(), sum(each.received for each in exchanges))
    return Report(
        program.name,
        trainer.mesh.size,
        dict(trainer.mesh.shape),
        trainer.config.batch_size,
        program.parts,
        memory,
        work,
        exchanges,
        seconds,
        effort,
    )


def describe(report: Report, topology: str) -> str:
    """The report as lines of text."""
    chip, axes = roofline.parse(topology)
    mesh = ", ".join(f"{axis} {size}" for axis, size in report.mesh.items())
    total = sum(report.memory.values())
    fits = "fits" if total <= chip.memory else "DOES NOT FIT"
    lines = [
        f"{topology}, {report.devices} devices ({mesh}): {report.program}, {report.clips} clips in {report.parts} "
        f"part{'s' * (report.parts > 1)}; compiled in {report.compile_seconds:.0f} s, effort {report.effort:g}",
        "memory per device, GB",
        *(f"  {name:24}{size / GIGA:10.3f}" for name, size in report.memory.items()),
        f"  {'together':24}{total / GIGA:10.3f} of {chip.memory / GIGA:g}: {fits}",
        f"collectives per device{'runs':>12}{'GB':>10}{'GB received':>14}",
        *(
            f"  {each.kind:24}{each.runs:8}{each.payload / GIGA:10.3f}{each.received / GIGA:14.3f}"
            for each in report.exchanges
        ),
    ]
    limits = roofline.times(report.work, chip, axes)
    work = report.work
    rows = (
        ("compute", f"{work.flops / 1e12:.2f} TFLOP ({work.useful / 1e12:.2f} useful)", limits.compute),
        ("memory", f"{work.traffic / GIGA:.1f} GB to and from", limits.memory),
        ("network", f"{work.received / GIGA:.2f} GB received", limits.network),
    )
    lines += ["least time per device", *(f"  {name:10}{what:36}{seconds:10.4f} s" for name, what, seconds in rows)]
    for when, seconds in (("all at once", limits.seconds), ("one after the other", sum(limits))):
        share = roofline.share_of_peak(work, chip, seconds)
        lines.append(f"  {when}: {seconds:.4f} s, {report.clips / seconds:.1f} clips/s, {share:.0%} of peak")
    return "\n".join([*lines, f"limited by {limits.limit}"])


def to_json(report: Report, topology: str) -> dict[str, Any]:
    exchanges = [each._asdict() for each in report.exchanges]
    return {"topology": topology, **report._asdict(), "work": report.work._asdict(), "exchanges": exchanges}


def _bytes_per_device(leaf: Any) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


if __name__ == "__main__":
    commands.run(main)
