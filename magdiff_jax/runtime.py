"""What a command sets up before JAX starts: XLA's flags and the cache of compiled programs."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CACHE = Path("~/.cache/magdiff_jax/xla")

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
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    names = {flag.split("=")[0] for flag in flags}
    flags += [flag for flag in FLAGS.get(version("jaxlib"), ()) if flag.split("=")[0] not in names]
    if flags:
        os.environ["XLA_FLAGS"] = " ".join(flags)

    import jax

    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(CACHE.expanduser()))
    jax.config.update("jax_compilation_cache_dir", cache)
    least = float(os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", 1.0))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def compiler_options(platform: str) -> dict[str, str]:
    """What the training step's compiler is told on a platform ("cpu", "gpu", "tpu")."""
    if platform != "tpu":
        return {}
    try:
        return TPU_OPTIONS.get(version("libtpu"), {})
    except PackageNotFoundError:  # the machine brings a compiler of its own
        return {}
