"""Devices as a mesh, and what lies where on it.

Three axes. `data`: clips are shared out, parameters repeated. `fsdp`: clips are shared out and so are the parameters,
which are gathered layer by layer where they are used (Rajbhandari et al. 2020, ZeRO stage 3). `frame`: the frames of
each clip are shared out, for more devices than clips; most of the U-Net works frame by frame, and only the norms'
statistics and the temporal layers exchange anything. There is no axis for a layer's channels (Megatron's "tensor"):
this U-Net is mostly convolutions of a few hundred channels, and would exchange its activations at every layer.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from magdiff_jax.config import Config, ConfigError
from magdiff_jax.models.unet import Placement
from magdiff_jax.sharding.leaves import Leaves
from magdiff_jax.sharding.rules import Rules, apply_rules

AXES = ("data", "fsdp", "frame")
# Clips of a batch lie along both.
BATCH = ("data", "fsdp")


@dataclasses.dataclass(frozen=True)
class MeshConfig(Config):
    """Devices along each axis; -1, for one of them at most: as many as are left."""

    data: int = -1
    fsdp: int = 1
    frame: int = 1

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


def leaf_shardings(rules: Rules, shapes: Leaves, mesh: Mesh | AbstractMesh) -> dict[str, NamedSharding]:
    """Where each parameter lies, from rules whose values are names of mesh axes.

    The axes share out a parameter's largest dimension that they divide, the last one of several; where they divide
    none, and with no axes, the parameter lies whole on every device.

    Raises:
        ConfigError: a rule names an unknown axis, or rules do not cover a parameter exactly once.
    """
    for pattern, axes in rules:
        if not isinstance(axes, list | tuple) or not set(axes) <= set(AXES):
            raise ConfigError(f"sharding: {pattern!r}: {axes!r} must be a tuple of some of {AXES}")
    axes_of = apply_rules("sharding", rules, shapes)
    return {path: NamedSharding(mesh, _spec(axes_of[path], shapes[path].shape, mesh)) for path in shapes}


def _spec(axes: Sequence[str], shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    parts = math.prod(mesh.shape[axis] for axis in axes)
    fitting = [(size, index) for index, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or not fitting:
        return PartitionSpec()
    _, index = max(fitting)
    return PartitionSpec(*(None,) * index, tuple(axes))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The first axis shared out among the devices."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def batch_shards(mesh: Mesh) -> int:
    """Parts that a batch is cut into."""
    return math.prod(mesh.shape[axis] for axis in BATCH)


def share_of_batch(mesh: Mesh) -> tuple[int, int]:
    """Which part of every batch this process loads, and how many parts there are. Raises as `share_of` does."""
    return share_of(np.vectorize(lambda device: device.process_index)(mesh.devices), jax.process_index())


def share_of(processes: Int[np.ndarray, "data fsdp frame"], process: int) -> tuple[int, int]:
    """Which part of every batch a process loads, and how many parts there are.

    Processes whose devices hold the same clips (a `frame` axis across them) load the same part.

    Args:
        processes: whose device stands at each place of the mesh.
        process: the one that asks.

    Raises:
        ConfigError: the parts of two processes overlap in part.
    """
    rows = processes.reshape(-1, processes.shape[2])  # a row for each share of the batch
    held = {other: tuple(np.flatnonzero((rows == other).any(axis=1))) for other in np.unique(processes)}
    parts = sorted(set(held.values()))
    if sum(map(len, parts)) != len(rows) or len({len(part) for part in parts}) != 1:
        raise ConfigError("mesh.frame: cuts the processes unevenly; choose a divisor of each process's devices")
    return parts.index(held[process]), len(parts)


def to_global(mesh: Mesh, arrays: Any) -> Any:
    """A process's part of a batch (NumPy arrays) as arrays over the whole mesh."""
    sharding = over_batch(mesh)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), arrays)


def place_batch(mesh: Mesh, tree: Any) -> Any:
    """Within a compiled function: clips shared out among the devices, all else of an array on each of them."""
    return jax.lax.with_sharding_constraint(tree, over_batch(mesh))


def place_video(mesh: Mesh, video: Array) -> Array:
    """Within a compiled function: [batch, frame, …] with clips and, where they divide, frames shared out."""
    axis = "frame" if video.shape[1] % mesh.shape["frame"] == 0 else None
    return jax.lax.with_sharding_constraint(video, NamedSharding(mesh, PartitionSpec(BATCH, axis)))


def gather(mesh: Mesh, tree: Any) -> Any:
    """Within a compiled function: parameters whole on every device, for as long as they are used.

    Their gradients go back without a word about where they lie, so that XLA adds them up and shares them out at once.
    """

    @jax.custom_vjp
    def whole(leaf: Array) -> Array:
        return jax.lax.with_sharding_constraint(leaf, replicated(mesh))

    whole.defvjp(lambda leaf: (whole(leaf), None), lambda _, gradient: (gradient,))
    return jax.tree.map(whole, tree)


def make_placement(mesh: Mesh) -> Placement:
    """What the U-Net needs to know of a mesh."""
    return Placement(partial(place_video, mesh), partial(gather, mesh))


def bytes_per_device(shapes: Mapping[str, Any], shardings: Mapping[str, NamedSharding]) -> int:
    """What parameters take on each device."""
    return sum(
        math.prod(shardings[path].shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        for path, leaf in shapes.items()
    )
