"""Time the networks: `python -m benchmarks.run --size tiny small`."""

import argparse
import json
import os
import tempfile
from pathlib import Path

from magdiff_jax import runtime

COLUMNS = (
    "size",
    "case",
    "seconds",
    "runs",
    "TFLOP/s",
    "of peak",
    "trace",
    "compile",
    "start",
    "args",
    "temp",
    "process",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Time the networks.")
    parser.add_argument("--size", nargs="+", choices=("tiny", "small", "full"), default=["tiny", "small"])
    parser.add_argument("--quick", action="store_true", help="three runs of each")
    parser.add_argument("--no-torch", action="store_true", help="without PyTorch beside it")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:  # empty: the first compilation is a real one
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
        runtime.prepare()
        figures = measure_all(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure_all(arguments: argparse.Namespace) -> dict[str, object]:
    """Measure and print, size by size; returns the figures for JSON."""
    import jax

    from benchmarks import cases, compare, measure

    missing = "PyTorch not asked for" if arguments.no_torch else compare.unavailable()
    peak = measure.peak_flops(arguments.dtype) / 1e12
    print(
        f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {arguments.dtype}: matrix products {peak:.3f} TFLOP/s"
    )
    print("seconds: median of runs; trace, compile, start (both, from the cache): seconds; memory: GB")
    print(row(COLUMNS))
    results, comparisons = [], []

    def report(result: measure.Result) -> None:
        print(report_row(result, peak), flush=True)
        results.append(with_speed(result, peak))

    for name in arguments.size:
        size = cases.SIZES[name]
        report(measure.measure(name, measure.build(cases.vae_decode(size, arguments.dtype)), arguments.quick))
        network, params = cases.unet(size, arguments.dtype)
        report(measure.measure(name, measure.build(cases.guided_step(size, network, params)), arguments.quick))
        forward = cases.unet_forward(size, network, params)
        program = measure.build(forward)
        result = measure.measure(name, program, arguments.quick)
        report(result)
        if missing is None:
            theirs = compare.torch_forward(size, network, params, forward.arguments[1:])
            comparison = compare.compare(name, program.run, theirs, result.runs)
            print(compare.line(comparison, "outputs"), flush=True)
            comparisons.append(comparison._asdict())
    if missing is not None:
        print(missing)
    return {"jax": jax.__version__, "dtype": arguments.dtype, "peak": peak, "results": results, "torch": comparisons}


def report_row(result: "measure.Result", peak: float) -> str:
    """A line of the table; `peak` in TFLOP/s."""
    speed = result.tflop / result.seconds
    head = (result.size, result.case, f"{result.seconds:.4f}", str(result.runs), f"{speed:.3f}", f"{speed / peak:.0%}")
    return row((*head, *(f"{number:.2f}" for number in result[5:])))


def with_speed(result: "measure.Result", peak: float) -> dict[str, object]:
    """A line of the table for JSON."""
    speed = result.tflop / result.seconds
    return result._asdict() | {"tflop_per_second": speed, "share_of_peak": speed / peak}


def row(cells: tuple[str, ...]) -> str:
    return "{:6}{:17}{:>9}{:>5}{:>8}{:>8}{:>7}{:>8}{:>7}{:>7}{:>7}{:>8}".format(*cells)


if __name__ == "__main__":
    main()
