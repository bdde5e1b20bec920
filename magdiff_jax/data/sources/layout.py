"""The folders of public data sets: find what should be there, and say how to get it where it is not."""

from pathlib import Path
from typing import Any

from magdiff_jax import text
from magdiff_jax.errors import UserError


def inside(folder: Path, name: str) -> Path:
    """`folder / name`.

    Raises:
        UserError: it is no name, or lies outside of `folder`.
    """
    parts = Path(name).parts if isinstance(name, str) else ()
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
        raise UserError(f"{name!r} names no place within {folder}: mend the list that has it")
    return folder / name


def check_within(folder: Path, path: Path) -> None:
    """Raises UserError where a text in `folder` is a link that leads out of it.

    Videos and pictures may be such links: what is none is not decoded. But any text would be taken, a private key as
    well as a caption, and get into records and models.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path} is a link that leads out of {folder}: put a copy of the text there")


def first_there(folder: Path, names: tuple[str, ...], what: str, obtain: str) -> Path:
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


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped. Raises UserError where it cannot be read."""
    return [line.strip() for line in text.read_lines(path) if line.strip()]


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises UserError where it cannot be read."""
    return text.parse_json(text.read_text(path), str(path))
