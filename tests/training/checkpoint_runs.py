"""States to save, and runs in processes of their own: `checkpoint_runs.py RUN FOLDER [ARGUMENT ...]`."""

import os
import sys
import warnings
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from magdiff_jax.training.checkpoints import Checkpoints


class State(NamedTuple):
    step: Any
    params: dict[str, Any]
    opt_state: Any
    ema: dict[str, Any]
    loss_scale: tuple[Any, Any]
    key: Any


def make_state(step: int, mesh: jax.sharding.Mesh | None = None, width: int = 64) -> State:
    """Another one for each step; of arrays of many types; spread over a mesh where there is one."""
    random = np.random.default_rng(step)
    shapes = {"unet/conv_in/kernel": (3, 3, 32, width), "unet/conv_in/bias": (width,), "resampler/queries": (16, 24)}
    params = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    moments = jax.tree.map(
        lambda leaf: random.standard_normal(leaf.shape, np.float32) if leaf.ndim else np.int32(step),
        optax.adamw(1e-4).init(params),
    )
    ema = {kind: random.standard_normal((8, 24)).astype(jnp.dtype(kind)) for kind in ("float16", "bfloat16")}
    scale = (np.float32(2**15), random.random(24) < 0.5)
    state = State(np.int32(step), params, moments, ema, scale, jax.random.key(step))

    def place(leaf: Any) -> jax.Array:
        if mesh is None:
            return jnp.array(leaf)
        spread = jax.P(*[None] * (leaf.ndim - 1), "data") if leaf.ndim else jax.P()
        sharding = jax.NamedSharding(mesh, spread)
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    return jax.tree.map(place, state)


def make_mesh() -> jax.sharding.Mesh:
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def target_of(state: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


def assert_same(state: Any, expected: Any) -> None:
    """Bit for bit, type for type and place for place; of each process its own part."""
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for leaf, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        assert leaf.dtype == other.dtype
        assert leaf.sharding == other.sharding
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf, other = jax.random.key_data(leaf), jax.random.key_data(other)
        for shard, other_shard in zip(leaf.addressable_shards, other.addressable_shards, strict=True):
            assert np.asarray(shard.data).tobytes() == np.asarray(other_shard.data).tobytes()


def save_without_end(folder: Path) -> None:
    """Says each step when its checkpoint is begun."""
    checkpoints = Checkpoints(folder, keep=2)
    restored = checkpoints.restore(target_of(make_state(0, width=512)))
    for step in count(restored.step + 1 if restored else 1):
        checkpoints.save(step, make_state(step, width=512), {"step": step})
        print(step, flush=True)


def restore_and_save(folder: Path) -> None:
    """Restores step 1 on all devices and saves step 2 from there."""
    mesh = make_mesh()
    with Checkpoints(folder, keep=9) as checkpoints:
        restored = checkpoints.restore(target_of(make_state(0, mesh)))
        assert restored is not None
        assert restored.step == 1
        assert_same(restored.state, make_state(1, mesh))
        checkpoints.save(2, make_state(2, mesh), {"devices": jax.device_count()})


def be_one_of_two(folder: Path, port: str, process: str) -> None:
    """The same in two processes, after which one that only the second process reads is damaged."""
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(process))
    restore_and_save(folder)

    mesh = make_mesh()
    if process == "1":
        parts = (folder / "2" / "state" / "ocdbt.process_1").rglob("*")
        os.truncate(max(parts, key=lambda path: path.stat().st_size), 1000)
    with Checkpoints(folder, keep=9) as checkpoints:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            restored = checkpoints.restore(target_of(make_state(0, mesh)))
        assert restored is not None
        assert restored.step == 1
        print(*(warning.message for warning in warned))
        checkpoints.save(2, make_state(2, mesh), {"again": True})


if __name__ == "__main__":
    run, folder, *arguments = sys.argv[1:]
    {run.__name__: run for run in (save_without_end, restore_and_save, be_one_of_two)}[run](Path(folder), *arguments)
