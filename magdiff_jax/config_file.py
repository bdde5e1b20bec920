"""Configs in files: Python files with a `get_config()`, and `--config.key=value` flags that change its values."""

import os
import runpy
from pathlib import Path
from typing import Any

from magdiff_jax.errors import UserError

HELP = "Python file whose get_config() returns an ml_collections.ConfigDict; --config.KEY=VALUE changes a value of it"


def split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """A command's arguments without and with those of the form `--config.key=value`."""
    overrides = [argument for argument in arguments if argument.startswith("--config.")]
    return [argument for argument in arguments if argument not in overrides], overrides


def read_config(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The values of a config file, with overrides of the types that the file's own values have.

    An override may begin with ~, which shells leave as it is there.
    The file is a program and runs as one.

    Raises:
        UserError: there is no such file, it fails, or an override names no value of it or has another type.
    """
    from absl import flags
    from ml_collections import config_flags

    if not path.is_file():
        raise UserError(f"--config {path}: no such file")
    for override in overrides:
        if "=" not in override:
            raise UserError(f"{override}: write --config.KEY=VALUE")
    try:
        config = runpy.run_path(str(path))["get_config"]()
    except Exception as error:  # whatever the file does
        raise UserError(f"--config {path}: {_line(error)}") from error
    values = flags.FlagValues()
    pairs = [override.split("=", 1) for override in overrides]
    arguments = ["", *(f"{key}={os.path.expanduser(value)}" for key, value in pairs)]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments)
        values(arguments)
    except Exception as error:  # ml_collections and absl have a dozen kinds
        raise UserError(f"{' '.join(overrides) or path}: {_line(error)}") from error
    return config.to_dict()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
