"""Records that check themselves and travel as JSON: the base of every configuration."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

AnyConfig = TypeVar("AnyConfig", bound="Config")

# Of parameters and of computations with them.
COMPUTE_DTYPES = ("float32", "bfloat16", "float16")


class ConfigError(ValueError):
    """An impossible configuration; the message names the key, the value and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What all configurations share: strict reading, JSON-ready writing, one way to complain."""

    @classmethod
    def from_dict(cls: type[AnyConfig], values: Mapping[str, Any]) -> AnyConfig:
        """Build from JSON values. Raises ConfigError for an unknown, missing or impossible entry."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields))
        if unknown:
            raise ConfigError(f"{cls.__name__}: unknown keys {unknown}; allowed are {sorted(fields)}")
        needed = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
        missing = sorted(needed - set(values))
        if missing:
            raise ConfigError(f"{cls.__name__}: missing keys {missing}")
        kinds = get_type_hints(cls)
        for key, value in values.items():
            if not _fits(kinds[key], value):
                raise ConfigError(
                    f"{cls.__name__}.{key} = {value!r}: an object, a list or one value in another's place"
                )
        return cls(**{key: _from_json(kinds[key], value) for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`, with lists for tuples, as JSON has them."""
        return {field.name: _to_json(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def _require(self, key: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{type(self).__name__}.{key} = {getattr(self, key)!r}: must be {allowed}")

    def _require_number(self, key: str, least: int | float, most: int | float = math.inf) -> None:
        value = getattr(self, key)
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        holds = is_number and least <= value <= most and math.isfinite(value)
        self._require(key, holds, f"a number from {least:g} to {most:g}" if most < math.inf else f"at least {least:g}")

    def _require_positive(self, *keys: str) -> None:
        for key in keys:
            value = getattr(self, key)
            for number in value if isinstance(value, tuple) else (value,):
                whole = isinstance(number, int) and not isinstance(number, bool)
                self._require(key, whole and number > 0, "positive whole numbers")


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is an object, a list or a single value where its kind is one; of single values, any will do."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return any(_fits(option, value) for option in get_args(kind))
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        *items, last = get_args(kind)
        kinds = items * len(value) if last is ... else [*items, last]
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    if isinstance(origin, type) and issubclass(origin, Config | Mapping):
        return isinstance(value, Config | Mapping)
    return origin is Any or not isinstance(value, list | tuple | Mapping)


def _from_json(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Config) and isinstance(value, Mapping):
        return kind.from_dict(value)
    return _tupled(value)


def _tupled(value: Any) -> Any:
    """Lists, which JSON has for tuples, within one another."""
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _to_json(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, tuple | list) else value
