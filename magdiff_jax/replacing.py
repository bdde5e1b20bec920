"""Files and folders that are whole or not there: written beside, then renamed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from magdiff_jax.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write a file or folder to; it takes `path`'s place at the end.

    When the body fails, `path` is as it was and nothing else is left behind.

    Raises:
        UserError: the operating system refuses (no such folder, no permission, disk full).
    """
    path = Path(os.path.abspath(path))
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as beside:
            new, old = Path(beside, "new", path.name), Path(beside, "old")
            new.parent.mkdir()
            yield new
            if path.is_dir():
                path.rename(old)  # a folder cannot be renamed onto one that holds files
            new.replace(path)
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}") from error


def check_replaceable(folder: Path, mark: str) -> None:
    """Raises UserError where `folder` is something else than an empty folder or one of ours, which has a file `mark`."""
    if folder.exists() and not (folder.is_dir() and ((folder / mark).is_file() or not any(folder.iterdir()))):
        raise UserError(f"{folder} holds something else (no {mark}) and is not replaced: choose another folder")
