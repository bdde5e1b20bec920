"""Names of tensors that programs wrapped a network in, and how names that do not fit are told."""

from collections.abc import Collection
from itertools import takewhile

# Parts that PyTorch's wrappers put into names, wherever in them: data parallel, compiled, sharded, checkpointed, and
# Lightning's strategies. No network of ours has a part of such a name.
WRAPPERS = (
    "module",
    "_orig_mod",
    "_forward_module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
)
# What a training program may call the network that it holds; a network may have a part of that name further in.
HOLDER = "model."
# Names in an error that say the same for many.
_SHOWN = 3


def unwrapped(names: Collection[str]) -> dict[str, str]:
    """Each name without wrappers' parts; the names as they are where two would become one.

    `model.` is taken off the front where all names begin with it.
    """
    plain = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in names}
    while plain and all(name.startswith(HOLDER) for name in plain.values()):
        plain = {name: short.removeprefix(HOLDER) for name, short in plain.items()}
    return plain if len(set(plain.values())) == len(plain) and all(plain.values()) else {name: name for name in names}


def common_prefix(names: Collection[str]) -> str:
    """The parts that all names begin with, such as `net.unet.`; "" where there are none."""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return "".join(f"{column[0]}." for column in takewhile(lambda column: len(set(column)) == 1, columns))


def shown(names: Collection[str]) -> str:
    """The first names, and how many there are."""
    first = ", ".join(list(names)[:_SHOWN])
    return first if len(names) <= _SHOWN else f"{first}, … ({len(names)} in all)"
