"""Records that check themselves and travel as JSON: the base of every configuration."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, TypeVar

AnyConfig = TypeVar("AnyConfig", bound="Config")


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
        missing = sorted(n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in values)
        if missing:
            raise ConfigError(f"{cls.__name__}: missing keys {missing}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`, with lists for tuples, as JSON has them."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def _require(self, key: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{type(self).__name__}.{key} = {getattr(self, key)!r}: must be {allowed}")

    def _require_number(self, key: str, least: float, most: float = math.inf) -> None:
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
