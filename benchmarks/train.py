"""Time the training step: `python -m benchmarks.train --size small`."""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.run import COLUMNS, report_row, row, with_speed
from magdiff_jax import runtime

# Steps during which the wait for the loader is timed, after as many that are not.
LOADER_STEPS = 10
# GB beside what XLA accounts for: the program itself, and room for the system.
SPARE = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description="Time the training step.")
    parser.add_argument("--size", nargs="+", choices=("tiny", "small", "full"), default=["small"])
    parser.add_argument("--remat", nargs="+", choices=("off", "on"), default=["off", "on"])
    parser.add_argument("--batch", type=int, default=1, help="clips a step (default: 1)")
    parser.add_argument("--quick", action="store_true", help="three runs of each")
    parser.add_argument("--no-torch", action="store_true", help="without PyTorch beside it")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the computation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:  # empty: the first compilation is a real one
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
        runtime.prepare()
        figures = measure_all(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and print, size by size; returns the figures for JSON."""
    import jax

    from benchmarks import cases, compare, measure

    missing = "PyTorch not asked for" if arguments.no_torch else compare.unavailable()
    peak = measure.peak_flops(arguments.dtype) / 1e12
    print(
        f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {arguments.dtype}: matrix products {peak:.3f} TFLOP/s"
    )
    print("seconds: median of runs; trace, compile, start (both, from the cache): seconds; memory: GB")
    print("TFLOP/s: without what remat computes again")
    print(row(COLUMNS))
    figures: dict[str, Any] = {"jax": jax.__version__, "dtype": arguments.dtype, "peak": peak}
    figures |= {"results": [], "torch": [], "waiting": []}
    for name in arguments.size:
        size = cases.SIZES[name]
        network, params = cases.unet(size, arguments.dtype)
        for choice in arguments.remat:
            one(name, size, network, params, choice == "on", arguments, missing is None, figures)
    if missing is not None:
        print(missing)
    return figures


def one(
    name: str,
    size: Any,
    network: Any,
    params: Any,
    remat: bool,
    arguments: argparse.Namespace,
    with_torch: bool,
    figures: dict[str, Any],
) -> None:
    """Measure one step, and add to `figures`."""
    from benchmarks import cases, compare, measure, training

    given = training.step_arguments(size, network, params, arguments.batch)
    case = cases.Case("step, remat" if remat else "step", training.step_function(network, remat), given, goes_on=True)
    program = measure.build(case)
    needed = program.temporaries + SPARE
    if needed > (free := free_memory()):
        print(f"{name}: {case.name} left out: it takes {needed:.1f} GB more, {free:.1f} GB are free")
        return
    loss = float(program.run())
    if remat:
        program = program._replace(tflop=measure.tflop(training.step_function(network, False), given))
    result = measure.measure(name, program, arguments.quick)
    print(report_row(result, figures["peak"]), flush=True)
    figures["results"].append(with_speed(result, figures["peak"]))

    share = waiting_share(training.loader(size, arguments.batch), program.run)
    print(f"{name}: {share:.2%} of the time is spent waiting for EmojiMotion's loader", flush=True)
    figures["waiting"].append({"size": name, "case": case.name, "share": share})

    if not with_torch:
        return
    if result.arguments + SPARE > (free := free_memory()):
        print(f"{name}: PyTorch left out: it takes {result.arguments:.1f} GB and more, {free:.1f} GB are free")
        return
    theirs = training.torch_step(size, network, params, arguments.batch, remat)
    comparison = compare.compare_losses(name, loss, program.run, theirs, result.runs)
    print(compare.line(comparison, "losses"), flush=True)
    figures["torch"].append(comparison._asdict() | {"case": case.name})


def free_memory() -> float:
    """GB that can still be allocated: on the fullest device, or on the machine where devices do not tell."""
    import jax
    import psutil

    from benchmarks.measure import GIGA

    statistics = [device.memory_stats() for device in jax.local_devices()]
    on_devices = [each["bytes_limit"] - each["bytes_in_use"] for each in statistics if each and "bytes_limit" in each]
    return min(on_devices, default=psutil.virtual_memory().available) / GIGA


def waiting_share(loader: Any, run: Any) -> float:
    """Share of the time in which a loop of batches and steps waits for the loader."""
    import jax

    waited = start = 0.0
    for index in range(2 * LOADER_STEPS):
        if index == LOADER_STEPS:
            waited, start = 0.0, time.perf_counter()
        before = time.perf_counter()
        next(loader)
        waited += time.perf_counter() - before
        jax.block_until_ready(run())
    return waited / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
