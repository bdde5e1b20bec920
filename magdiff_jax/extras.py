"""Libraries that only some parts need: the extras of the package."""

from importlib.util import find_spec

from magdiff_jax.errors import UserError


def require(extra: str, *modules: str) -> None:
    """Check that an extra's libraries are installed.

    Args:
        extra: of the package, such as "data".
        modules: of its libraries, which are about to be imported.

    Raises:
        UserError: one is not there.
    """
    missing = [module for module in modules if _is_missing(module)]
    if missing:
        raise UserError(f"this needs {', '.join(missing)}; install with: pip install 'magdiff_jax[{extra}]'")


def _is_missing(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ValueError:  # an import that was stopped
        return True
