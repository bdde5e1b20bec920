"""MagDiff in JAX: subject-driven video generation and editing from one model."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magdiff_jax.diffusion.settings import Settings
    from magdiff_jax.errors import UserError
    from magdiff_jax.pipeline import MagDiff

__version__ = "0.1.0"
__all__ = ["MagDiff", "Settings", "UserError", "__version__"]

_HOMES = {
    "MagDiff": "magdiff_jax.pipeline",
    "Settings": "magdiff_jax.diffusion.settings",
    "UserError": "magdiff_jax.errors",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: a command shows its flags without waiting for JAX.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
