"""The folders of public data sets: find what should be there, and say how to get it where it is not."""

from pathlib import Path
from typing import Any

from magdiff_jax import text
from magdiff_jax.errors import UserError
from magdiff_jax.places import Place


def inside(folder: Place, name: str) -> Place:
    """`folder / name`.

    Raises:
        UserError: it is no name, or lies outside of `folder`.
    """
    parts = Path(name).parts if isinstance(name, str) else ()
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
        raise UserError(f"{name!r} names no place within {folder}: mend the list that has it")
    return folder / name


def first_there(folder: Place, names: tuple[str, ...], what: str, obtain: str) -> Place:
    """The first of these files or folders that is in `folder`.

    Args:
        folder: the data set's.
        names: in order of preference.
        what: for the message, such as "UCF-101's split".
        obtain: how people get the data set, as the end of a sentence.

    Raises:
        UserError: none is there.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise UserError(f"{folder} lacks {what} ({' or '.join(names)}): {obtain}")


def read_lines(path: Place) -> list[str]:
    """The lines of a text file that are not blank, stripped. Raises UserError where it cannot be read."""
    return [line.strip() for line in text.read_lines(path) if line.strip()]


def read_json(path: Place) -> Any:
    """What a JSON file says. Raises UserError where it cannot be read."""
    return text.parse_json(text.read_text(path), str(path))
