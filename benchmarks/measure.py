"""How it is measured: time, products counted in the program, memory, and the machine's own limit."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.cases import Case
from magdiff_jax.training.flops import count_flops

GIGA = 1e9


class Result(NamedTuple):
    """One row of the table.

    Attributes:
        seconds: median of `runs` runs.
        tflop: of one run, as `count_flops` counts.
        trace: seconds from the Python function to the program, `compile` from there to machine code.
        start: both together when the compiled program comes from the cache.
        arguments, temporaries: GB (10⁹ bytes), XLA's own account.
        process: GB, the process's largest size up to then.
    """

    size: str
    case: str
    seconds: float
    runs: int
    tflop: float
    trace: float
    compile: float
    start: float
    arguments: float
    temporaries: float
    process: float


def timed(function: Callable[[], Any]) -> float:
    """Wall seconds until the result is there."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def repeated(function: Callable[[], Any], quick: bool) -> Iterator[float]:
    """Seconds of several runs after one that is not counted: 3 if `quick`, else 3 to 15 in about 20 seconds."""
    first = timed(function)
    for _ in range(3 if quick else min(15, max(3, int(20 / first)))):
        yield timed(function)


def peak_flops(dtype: str) -> float:
    """FLOP/s of a large matrix product, the best of many."""
    size = 4096 if jax.default_backend() == "cpu" else 16384
    matrix = jnp.full((size, size), 1 / size, dtype)
    precision = "highest" if dtype == "float32" else "default"
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=precision))
    return 2 * size**3 / min(timed(lambda: product(matrix)) for _ in range(12))


class Program(NamedTuple):
    """A compiled case, and a function that runs it; the rest is as in `Result`."""

    case: Case
    compiled: Any
    run: Callable[[], Any]
    tflop: float
    trace: float
    compile: float
    start: float

    @property
    def arguments(self) -> float:
        return self.compiled.memory_analysis().argument_size_in_bytes / GIGA

    @property
    def temporaries(self) -> float:
        return self.compiled.memory_analysis().temp_size_in_bytes / GIGA


def build(case: Case) -> Program:
    """Compile a case twice, the second time from the cache."""
    jitted = jax.jit(case.function, donate_argnums=0 if case.goes_on else ())
    start = time.perf_counter()
    traced = jitted.trace(*case.arguments)
    lowered = traced.lower()
    trace = time.perf_counter() - start
    start = time.perf_counter()
    lowered.compile()
    compilation = time.perf_counter() - start

    jax.clear_caches()
    start = time.perf_counter()
    compiled = jitted.lower(*case.arguments).compile()
    cached = time.perf_counter() - start
    arguments = list(case.arguments)

    def run() -> Any:
        result = compiled(*arguments)
        if case.goes_on:
            arguments[0], result = result
        return result

    return Program(case, compiled, run, count_flops(traced.jaxpr.jaxpr) / 1e12, trace, compilation, cached)


def tflop(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    """Of one run, as in `Result`."""
    return count_flops(jax.make_jaxpr(function)(*arguments).jaxpr) / 1e12


def measure(size: str, program: Program, quick: bool) -> Result:
    """Time a program."""
    runs = list(repeated(program.run, quick))
    return Result(
        size,
        program.case.name,
        statistics.median(runs),
        len(runs),
        program.tflop,
        program.trace,
        program.compile,
        program.start,
        program.arguments,
        program.temporaries,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGA,
    )
