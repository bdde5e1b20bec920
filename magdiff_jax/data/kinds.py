"""Parts that a config names by their kind: `{"kind": "records", "folder": "…"}` is a class and its arguments."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from magdiff_jax.config import ConfigError


def make(what: str, kinds: Mapping[str, str], spec: Mapping[str, Any]) -> Any:
    """The object that `spec` names. Arguments and errors are those of `read`."""
    cls, bound = read(what, kinds, spec)
    return cls(*bound.args, **bound.kwargs)


def read(what: str, kinds: Mapping[str, str], spec: Mapping[str, Any]) -> tuple[Any, inspect.BoundArguments]:
    """The class that `spec` names, and all its arguments, with defaults for those that the spec leaves out.

    Args:
        what: for messages, such as "source".
        kinds: kind → "package.module.Class"; loaded when asked for, since each needs libraries of its own.
        spec: "kind" and the arguments of its class.

    Raises:
        ConfigError: an unknown kind, or arguments that it does not take or lacks.
    """
    arguments = dict(spec)
    kind = arguments.pop("kind", None)
    if kind not in kinds:
        raise ConfigError(f"{what} kind {kind!r}: must be one of {', '.join(kinds)}")
    module, name = kinds[kind].rsplit(".", 1)
    cls = getattr(importlib.import_module(module), name)
    try:
        bound = inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        taken = ", ".join(inspect.signature(cls).parameters)
        raise ConfigError(f"{what} {kind!r}: {error}; it takes {taken or 'nothing'}") from None
    bound.apply_defaults()
    return cls, bound
