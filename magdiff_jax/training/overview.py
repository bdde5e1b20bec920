"""Which parameters are trained and which are frozen, named and counted."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clu import parameter_overview


@dataclass(frozen=True)
class _Row:
    """Parameters of a part of a model, by what becomes of them."""

    part: str
    trainable: int
    frozen: int


def summary(trainable: Mapping[str, Any], frozen: Mapping[str, Any]) -> str:
    """Counts by component and top-level block, and a line with the sum of each component.

    Args:
        trainable, frozen: arrays, or shapes, by path.
    """
    blocks = _count(trainable, _block), _count(frozen, _block)
    table = parameter_overview.make_table(_rows(*blocks), column_names=("part", "trainable", "frozen"))
    components = _rows(_count(trainable, _component), _count(frozen, _component))
    sums = (f"{row.part}: {row.trainable:,} trainable of {row.trainable + row.frozen:,}" for row in components)
    return "\n".join((table, *sums))


def listing(trainable: Mapping[str, Any], frozen: Mapping[str, Any]) -> str:
    """Every parameter with its shape, type, size and sharding; the trainable ones first.

    Args:
        trainable, frozen: arrays, or shapes, by path.
    """
    tables = (
        f"{name}\n{parameter_overview.get_parameter_overview(dict(leaves), include_stats='sharding')}\n"
        for name, leaves in (("Trainable", trainable), ("Frozen", frozen))
    )
    return "\n".join(tables)


def _rows(trainable: Counter[str], frozen: Counter[str]) -> list[_Row]:
    return [_Row(part, trainable[part], frozen[part]) for part in sorted(trainable | frozen)]


def _count(leaves: Mapping[str, Any], part: Any) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for path, leaf in leaves.items():
        sizes[part(path)] += math.prod(leaf.shape)
    return sizes


def _component(path: str) -> str:
    return path.split("/")[0]


def _block(path: str) -> str:
    """`unet/mid_block`, `unet/down_blocks/0`."""
    keys = path.split("/")
    return "/".join(keys[: 3 if keys[2:] and keys[2].isdigit() else 2])
