"""What a command sets up before JAX starts, XLA's flags and the cache of compiled programs, and says of compiling."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magdiff_jax.errors import UserError

if TYPE_CHECKING:
    import jax

CACHE = Path("~/.cache/magdiff_jax/xla")
# Seconds after which a program is being compiled: from the cache it is there sooner.
PATIENCE = 5.0

# Flags that make CPUs faster (docs/performance.md), by the jaxlib versions in which they were tried: XLA ends the
# process at a flag that it does not know.
FLAGS = {"0.10.2": ("--xla_cpu_experimental_ynn_fusion_type=",)}
# The same for TPUs, by libtpu's version: the gradients of parameters that are shared out are not computed in rounds,
# each of which reads the activations again (docs/topologies.md).
TPU_OPTIONS = {"0.0.42.1": {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}}


def prepare() -> None:
    """Call once, at the start of a command, before any JAX computation.

    Adds to `XLA_FLAGS` what this jaxlib version profits from, except flags that are set there already, and keeps
    compiled programs in the folder `JAX_COMPILATION_CACHE_DIR`, by default `CACHE`; where that is empty, nowhere. Only
    those that took a second to compile are kept, unless `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS` says otherwise.
    XLA reads its flags once, when the first computation starts; after that only the cache takes effect.

    Raises:
        UserError: an environment variable of JAX's has an impossible value.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    names = {flag.split("=")[0] for flag in flags}
    flags += [flag for flag in FLAGS.get(version("jaxlib"), ()) if flag.split("=")[0] not in names]
    if flags:
        os.environ["XLA_FLAGS"] = " ".join(flags)

    try:
        import jax

        least = float(os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", 1.0))
    except ValueError as error:  # JAX reads its variables as it is imported
        raise UserError(f"JAX does not start: {error}; mend or unset that JAX_… variable") from error
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(CACHE.expanduser()))
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def devices() -> "list[jax.Device]":
    """All devices of all processes, which have to have found each other (`sharding.distributed.start`) before.

    Raises:
        UserError: JAX finds none, or none of the kind that is asked for.
    """
    import jax

    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter for a kind that has no plugin here
        reason = " ".join(str(error).split()) or "there are none of that kind"
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise UserError(f"JAX finds no devices for JAX_PLATFORMS={asked!r} ({reason}): mend or unset it") from error


@contextmanager
def telling_of_compiling() -> Iterator[None]:
    """Says on stderr, once, that a program is being compiled, where that takes longer than `PATIENCE`."""
    import jax

    waiting: list[threading.Timer] = []
    told = threading.Event()

    def tell() -> None:
        from tqdm import tqdm

        told.set()
        config: Any = jax.config
        cache = config.jax_compilation_cache_dir
        kept = f"; later runs find it in {cache}" if cache else ""
        text = f"compiling for this model and size (the miniature: half a minute on two idle CPU cores){kept}"
        tqdm.write(text, file=sys.stderr)

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        # JAX tells when a program is written out for the compiler, and when that one, or the cache, has given it back.
        if event.endswith("/jaxpr_to_mlir_module_duration") and not told.is_set():
            waiting.append(threading.Timer(PATIENCE, tell))
            waiting[-1].daemon = True
            waiting[-1].start()
        elif event.endswith("/backend_compile_duration"):
            stop()

    def stop() -> None:
        while waiting:
            waiting.pop().cancel()

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
        stop()


def compiler_options(platform: str) -> dict[str, str]:
    """What the training step's compiler is told on a platform ("cpu", "gpu", "tpu")."""
    if platform != "tpu":
        return {}
    try:
        return TPU_OPTIONS.get(version("libtpu"), {})
    except PackageNotFoundError:  # the machine brings a compiler of its own
        return {}
