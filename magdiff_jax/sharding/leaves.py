"""Parameters of several networks as one flat dict, so that rules, checkpoints and logs speak of paths.

A path is the component's name and the keys into its nested dict: `unet/down_blocks/0/resnets/1/conv1/kernel`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from magdiff_jax.models import Network, Params
from magdiff_jax.models.network import flatten, unflatten

# By path: arrays, their shapes, or whatever else there is one of for each parameter.
Leaves = dict[str, Any]


def to_leaves(component: str, params: Params) -> Leaves:
    """A component's nested dict as a flat one."""
    return {"/".join(map(str, (component, *path))): leaf for path, leaf in flatten(params)}


def to_params(component: str, *leaves: Mapping[str, Any]) -> Params:
    """The inverse of `to_leaves`, of what flat dicts hold of a component together."""
    prefix = f"{component}/"
    return unflatten(
        (tuple(int(key) if key.isdigit() else key for key in path.removeprefix(prefix).split("/")), leaf)
        for part in leaves
        for path, leaf in part.items()
        if path.startswith(prefix)
    )


def shapes(networks: Mapping[str, Network]) -> Leaves:
    """Shapes and types of all parameters of some networks."""
    return {path: leaf for name, network in networks.items() for path, leaf in to_leaves(name, network.shapes).items()}


def select(leaves: Mapping[str, Any], paths: Iterable[str]) -> Leaves:
    """The leaves of these paths."""
    return {path: leaves[path] for path in paths}
