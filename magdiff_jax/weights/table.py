"""One two-way table between PyTorch's parameter names and layouts and ours.

A module's attributes carry PyTorch's names, so an entry follows from a parameter's path: the class of its layer says
how PyTorch calls and stores the leaf, and a few renames cover the places where the structures differ.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from magdiff_jax.errors import UserError
from magdiff_jax.models.layers import Conv2d, FrameConv, Linear, PointwiseConv
from magdiff_jax.models.network import Network, Path, flatten
from magdiff_jax.weights.names import common_prefix, shown


class Layout(NamedTuple):
    """How PyTorch stores a parameter.

    Attributes:
        axes: our axis that stands at each place of PyTorch's array; empty: the same order.
        ones: axes of length one that PyTorch's array has at its end and ours has not.
    """

    axes: tuple[int, ...] = ()
    ones: int = 0

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        turned = array.transpose(self.axes) if self.axes else array
        return turned.reshape(turned.shape + (1,) * self.ones)

    def to_ours(self, array: np.ndarray) -> np.ndarray:
        plain = array.reshape(array.shape[: array.ndim - self.ones])
        return plain.transpose(np.argsort(self.axes)) if self.axes else plain


# Of kernels [in, out], [height, width, in, out] and [frame, in, out]; the first class that fits decides.
KERNELS = (
    (PointwiseConv, Layout((1, 0), ones=2)),
    (Linear, Layout((1, 0))),
    (Conv2d, Layout((3, 2, 0, 1))),
    (FrameConv, Layout((2, 1, 0), ones=2)),
)
LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}

# Our path → PyTorch's, where they differ. PyTorch counts the activations and dropouts of a Sequential too.
RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"(temp_convs\.\d+)\.(norms|convs)\.(\d+)", lambda m: f"{m[1]}.convs.{4 * int(m[3]) + 3 * (m[2] == 'convs')}"),
    (r"(attn\d|temp_attn|attentions\.\d+)\.to_out", r"\1.to_out.0"),
    (r"\.ff\.proj", ".ff.net.0.proj"),
    (r"\.ff\.out", ".ff.net.2"),
    (r"\.attn\.in_proj\.", ".attn.in_proj_"),
    (r"^(layers\.\d+)\.attention", r"\1.0"),
    (r"^(layers\.\d+)\.feed_forward\.norm", r"\1.1.0"),
    (r"^(layers\.\d+)\.feed_forward\.proj", r"\1.1.1"),
    (r"^(layers\.\d+)\.feed_forward\.out", r"\1.1.3"),
)

# What older VAE checkpoints call the parts of an attention, and the names in the table.
ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
# What transformers from version 5 on leaves away from the names of a text encoder.
TEXT_PREFIX = "text_model."

# Matches no name.
NOTHING = r"(?!)"


class Entry(NamedTuple):
    """One parameter on both sides.

    Attributes:
        path: keys into our nested dict.
        name: PyTorch's name.
        shape: PyTorch's shape.
        layout: how to turn one into the other.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    layout: Layout


def table(network: Network) -> list[Entry]:
    """The entries of all parameters of a network, in the order of its tree."""
    modules = dict(nnx.iter_modules(network.module))
    entries = []
    for path, shape in flatten(network.shapes):
        layer, leaf = modules[path[:-1]], str(path[-1])
        layout = next((kind for cls, kind in KERNELS if leaf == "kernel" and isinstance(layer, cls)), Layout())
        name = ".".join(str(key) for key in (*path[:-1], LEAVES.get(leaf, leaf)))
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        stored = layout.to_torch(np.broadcast_to(np.int8(0), shape.shape)).shape
        entries.append(Entry(path, name, stored, layout))
    return entries


def table_name(name: str) -> str:
    """The name in the table of a parameter that some files call otherwise: VAE attentions and text encoders."""
    if re.match(r"embeddings\.|encoder\.layers\.|final_layer_norm\.", name):
        return TEXT_PREFIX + name
    return re.sub(
        r"(attentions\.\d+)\.(query|key|value|proj_attn)\.", lambda m: f"{m[1]}.{ATTENTION_NAMES[m[2]]}.", name
    )


def other_name(name: str) -> str:
    """The inverse of `table_name`, for the parameters of a VAE or a text encoder."""
    names = {ours: theirs for theirs, ours in ATTENTION_NAMES.items()}
    name = re.sub(r"(attentions\.\d+)\.(to_[qkv]|to_out\.0)\.", lambda m: f"{m[1]}.{names[m[2]]}.", name)
    return name.removeprefix(TEXT_PREFIX)


def match(
    entries: Sequence[Entry],
    sources: Sequence[Mapping[str, Any]],
    *,
    what: str,
    may_lack: str = NOTHING,
) -> dict[str, Any]:
    """Match checkpoints' tensors to a network's parameters, strictly.

    Args:
        entries: the network's table.
        sources: tensors (with shape and dtype) by name; a later source takes the place of an earlier one.
        what: the sources' name in the error.
        may_lack: pattern of PyTorch names that the sources may do without.

    Returns:
        The tensor for each of PyTorch's names that the sources hold.

    Raises:
        UserError: lists every unmatched source key, unfilled target, double match, shape mismatch and type that
            is not floating; where no name is known, says so in their place.
    """
    wanted = {entry.name: entry.shape for entry in entries}
    found: dict[str, Any] = {}
    kinds = ("unknown", "double", "missing", "of another shape", "of no floating type")
    problems: dict[str, list[str]] = {kind: [] for kind in kinds}
    for source in sources:
        names: dict[str, str] = {}
        for key, tensor in source.items():
            name = table_name(key)
            if name in names:
                problems["double"].append(f"{names[name]} and {key}")
            elif name not in wanted:
                problems["unknown"].append(key)
            elif tuple(tensor.shape) != wanted[name]:
                problems["of another shape"].append(f"{key} {tuple(tensor.shape)}, needs {wanted[name]}")
            elif not jnp.issubdtype(tensor.dtype, jnp.floating):
                problems["of no floating type"].append(f"{key} {tensor.dtype}")
            names[name] = key
            found[name] = tensor
    if (unknown := problems["unknown"]) and len(unknown) == len(found):
        prefix = common_prefix(unknown)
        names_are = f"all begin with {prefix}" if prefix else f"are {shown(unknown)}"
        raise UserError(f"{what} does not fit the network: its names {names_are}; needed are {shown(list(wanted))}")
    problems["missing"] = [name for name in wanted if name not in found and not re.search(may_lack, name)]
    complaints = [f"{len(names)} {kind}: {', '.join(names)}" for kind, names in problems.items() if names]
    if complaints:
        raise UserError(f"{what} does not fit the network; tensors {'; '.join(complaints)}")
    return found
