"""Devices as a mesh, and what lies where on it.

Three axes. `data`: clips are shared out, parameters repeated. `fsdp`: clips are shared out and so are the parameters,
which are gathered where they are used (Rajbhandari et al. 2020, ZeRO stage 3). `tensor`: a layer's channels are shared
out (Shoeybi et al. 2019, Megatron). XLA derives all communication from where arrays lie.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from magdiff_jax.config import Config, ConfigError
from magdiff_jax.training.leaves import Leaves
from magdiff_jax.training.rules import Rules, apply_rules

AXES = ("data", "fsdp", "tensor")
# Clips of a batch lie along both.
BATCH = ("data", "fsdp")


@dataclasses.dataclass(frozen=True)
class MeshConfig(Config):
    """Devices along each axis; -1, for one of them at most: as many as are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        for axis in AXES:
            size = getattr(self, axis)
            self._require(
                axis, isinstance(size, int) and (size > 0 or size == -1), "a positive number of devices or -1"
            )
        if [getattr(self, axis) for axis in AXES].count(-1) > 1:
            raise ConfigError("MeshConfig: -1 (all devices that are left) can stand at one axis only")

    def shape(self, devices: int) -> tuple[int, ...]:
        """Sizes of `AXES` for so many devices. Raises ConfigError where they do not fit."""
        sizes = [getattr(self, axis) for axis in AXES]
        fixed = math.prod(size for size in sizes if size > 0)
        if devices % fixed or (-1 not in sizes and devices != fixed):
            asked = ", ".join(f"{axis} {size}" for axis, size in zip(AXES, sizes, strict=True))
            raise ConfigError(f"mesh ({asked}) does not fit {devices} devices: their product must be {devices}")
        return tuple(devices // fixed if size == -1 else size for size in sizes)


def make_mesh(config: MeshConfig, devices: Sequence[Any]) -> Mesh:
    """The mesh of these devices. Raises ConfigError where their number does not fit."""
    shape = config.shape(len(devices))
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def leaf_shardings(rules: Rules, shapes: Leaves, mesh: Mesh) -> dict[str, NamedSharding]:
    """Where each parameter lies, from rules whose values name mesh axes for a parameter's last dimensions.

    ("fsdp", "tensor"), say: the last but one dimension along `fsdp`, the last along `tensor`; None: not shared out;
    (("fsdp", "tensor"),): the last along both. An axis that does not divide its dimension is left out there.

    Raises:
        ConfigError: a rule names an unknown axis, or rules do not cover a parameter exactly once.
    """
    for pattern, spec in rules:
        names = [name for entry in spec for name in (entry if isinstance(entry, list | tuple) else (entry,))]
        if unknown := set(names) - {*AXES, None}:
            raise ConfigError(f"sharding: {pattern!r} names {sorted(map(str, unknown))}, which are none of {AXES}")
    specs = apply_rules("sharding", rules, shapes)
    return {path: NamedSharding(mesh, _fit(specs[path], shapes[path].shape, mesh)) for path in shapes}


def _fit(spec: Sequence[Any], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    entries: list[Any] = []
    for entry, size in zip(reversed(spec), reversed(shape), strict=False):
        kept: list[str] = []
        for axis in entry if isinstance(entry, list | tuple) else (entry,):
            if axis is not None and size % math.prod(mesh.shape[name] for name in (*kept, axis)) == 0:
                kept.append(axis)
        entries.append(tuple(kept) or None)
    padding = [None] * (len(shape) - len(entries))
    return PartitionSpec(*padding, *reversed(entries))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The first axis shared out among the devices."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def batch_shards(mesh: Mesh) -> int:
    """Parts that a batch is cut into."""
    return math.prod(mesh.shape[axis] for axis in BATCH)


def share_of_batch(mesh: Mesh, process: int) -> tuple[int, int]:
    """Which part of every batch a process loads, and how many parts there are.

    Processes whose devices hold the same clips (a `tensor` axis across them) load the same part.

    Raises:
        ConfigError: the parts of two processes overlap in part.
    """
    rows: dict[int, set[int]] = {}
    for (data, fsdp, _), device in np.ndenumerate(mesh.devices):
        rows.setdefault(device.process_index, set()).add(data * mesh.shape["fsdp"] + fsdp)
    parts = sorted({tuple(sorted(held)) for held in rows.values()})
    if sum(map(len, parts)) != batch_shards(mesh) or len({len(part) for part in parts}) != 1:
        raise ConfigError("mesh: the tensor axis cuts processes unevenly; choose one that divides a process's devices")
    return parts.index(tuple(sorted(rows[process]))), len(parts)


def to_global(mesh: Mesh, arrays: Any) -> Any:
    """A process's part of a batch (NumPy arrays) as arrays over the whole mesh."""
    sharding = over_batch(mesh)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), arrays)


def constrain_batch(mesh: Mesh, tree: Any) -> Any:
    """Within a compiled function: keep first axes shared out among the devices."""
    return jax.lax.with_sharding_constraint(tree, over_batch(mesh))


def bytes_per_device(shapes: Mapping[str, Any], shardings: Mapping[str, NamedSharding]) -> int:
    """What parameters take on each device."""
    return sum(
        math.prod(shardings[path].shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        for path, leaf in shapes.items()
    )
