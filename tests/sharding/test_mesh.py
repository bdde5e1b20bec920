"""What lies where on a mesh, and which process loads what."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from magdiff_jax.config import ConfigError
from magdiff_jax.sharding.mesh import AXES, MeshConfig, leaf_shardings, share_of


@pytest.mark.parametrize(
    ("config", "devices", "shape"),
    [
        (MeshConfig(), 8, (8, 1, 1)),
        (MeshConfig(data=1, fsdp=-1), 8, (1, 8, 1)),
        (MeshConfig(fsdp=2, frame=2), 8, (2, 2, 2)),
        (MeshConfig(data=2, fsdp=2, frame=1), 4, (2, 2, 1)),
    ],
)
def test_what_is_left_goes_to_one_axis(config: MeshConfig, devices: int, shape: tuple[int, ...]) -> None:
    assert config.shape(devices) == shape


@pytest.mark.parametrize("config", [MeshConfig(fsdp=3), MeshConfig(data=2), MeshConfig(data=16)])
def test_a_mesh_that_does_not_fit_is_refused(config: MeshConfig) -> None:
    with pytest.raises(ConfigError, match="does not fit 8 devices: their product must be 8"):
        config.shape(8)


def test_impossible_meshes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"MeshConfig.fsdp = 0"):
        MeshConfig(fsdp=0)
    with pytest.raises(ConfigError, match="at one axis only"):
        MeshConfig(data=-1, fsdp=-1)


@pytest.mark.quick
def test_the_largest_dimension_that_divides_is_shared_out() -> None:
    mesh = jax.sharding.AbstractMesh((2, 4, 1), AXES)
    shapes = {"a": (3, 3, 8, 320), "b": (320, 64), "c": (3, 5), "d": (64, 64), "bias": (64,)}
    leaves = {path: jax.ShapeDtypeStruct(shape, np.float32) for path, shape in shapes.items()}
    placed = leaf_shardings((("bias", ()), ("rest", ("fsdp",))), leaves, mesh)
    assert {path: sharding.spec for path, sharding in placed.items()} == {
        "a": PartitionSpec(None, None, None, ("fsdp",)),
        "b": PartitionSpec(("fsdp",)),
        "c": PartitionSpec(),
        "d": PartitionSpec(None, ("fsdp",)),
        "bias": PartitionSpec(),
    }


def test_an_unknown_axis_is_refused() -> None:
    mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), AXES)
    with pytest.raises(ConfigError, match=r"sharding: 'rest': \('model',\) must be a tuple of some of"):
        leaf_shardings((("rest", ("model",)),), {}, mesh)


def test_processes_that_hold_the_same_clips_load_the_same() -> None:
    two = np.repeat([0, 1], 4).reshape(4, 2, 1)
    assert [share_of(two, process) for process in (0, 1)] == [(0, 2), (1, 2)]
    # Each clip's frames lie on two processes.
    four = np.repeat([0, 1, 2, 3], 2).reshape(2, 1, 4)
    assert [share_of(four, process) for process in range(4)] == [(0, 2), (0, 2), (1, 2), (1, 2)]


def test_clips_that_processes_share_in_part_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mesh.frame: cuts the processes unevenly"):
        share_of(np.repeat([0, 1], 3).reshape(3, 1, 2), 0)
