"""Rules in configs: (pattern, value) pairs that give every parameter exactly one value."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from magdiff_jax.config import ConfigError

# In the place of a pattern: all parameters that no other rule covers.
REST = "rest"

Rules = Sequence[tuple[str, Any]]

# Where MagDiff's parameters lie on a mesh, see `mesh.leaf_shardings`. Norms' scales and biases are small, and stay
# whole everywhere.
SHARDING: Rules = ((r"(bias|scale)$", ()), (REST, ("fsdp",)))


def check_rules(key: str, rules: Rules) -> None:
    """Raises ConfigError where a rule is no (pattern, value) pair, or its pattern no regular expression."""
    for rule in rules:
        if not (isinstance(rule, list | tuple) and len(rule) == 2 and isinstance(rule[0], str)):
            raise ConfigError(f"{key}: {rule!r} must be a pair of a pattern and a value")
        try:
            re.compile(rule[0])
        except re.error as error:
            raise ConfigError(f"{key}: {rule[0]!r} is no regular expression: {error}") from None


def apply_rules(key: str, rules: Rules, paths: Iterable[str]) -> dict[str, Any]:
    """The value of each path, from the one rule whose pattern is found in it.

    Args:
        key: where the rules stand in the config, for the error.
        rules: patterns are searched for, not matched; `REST` covers what no pattern does.
        paths: of the parameters, as in `leaves`.

    Raises:
        ConfigError: a parameter is covered by two rules or by none, or a pattern covers nothing.
    """
    check_rules(key, rules)
    patterns = [(re.compile(pattern), value) for pattern, value in rules if pattern != REST]
    rest = [value for pattern, value in rules if pattern == REST]
    if len(rest) > 1:
        raise ConfigError(f"{key}: {REST!r} stands there {len(rest)} times; once is enough")
    values: dict[str, Any] = {}
    used: set[str] = set()
    for path in paths:
        found = [(pattern.pattern, value) for pattern, value in patterns if pattern.search(path)]
        if len(found) > 1:
            names = " and ".join(repr(pattern) for pattern, _ in found)
            raise ConfigError(f"{key}: {path} is covered {len(found)} times, by {names}")
        if not found and not rest:
            raise ConfigError(f"{key}: no rule covers {path}; add one, or ({REST!r}, VALUE) for all that is left")
        used.update(pattern for pattern, _ in found)
        values[path] = found[0][1] if found else rest[0]
    if idle := [pattern.pattern for pattern, _ in patterns if pattern.pattern not in used]:
        raise ConfigError(f"{key}: no parameter has {idle[0]!r} in its path; look at parameters.txt of a run for paths")
    return values
