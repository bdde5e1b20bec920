"""Files and folders that are whole or not there: written beside, then renamed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from magdiff_jax.errors import UserError

PROGRAM = b"magdiff_jax"


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
            try:
                new.replace(path)
            except BaseException:
                if old.exists():
                    old.rename(path)
                raise
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}") from error


def check_replaceable(folder: Path, mark: str) -> None:
    """Check that a folder may be replaced.

    Args:
        folder: that is to be written.
        mark: name of a file in each such folder, whose first lines name this program.

    Raises:
        UserError: it is something else than an empty folder or one that this program wrote.
    """
    if not folder.exists() or (folder.is_dir() and (not any(folder.iterdir()) or _is_ours(folder / mark))):
        return
    raise UserError(
        f"{folder} holds something else (no {mark} of magdiff_jax) and is not replaced: choose another folder"
    )


def _is_ours(mark: Path) -> bool:
    if not mark.is_file():
        return False
    with mark.open("rb") as file:
        return PROGRAM in file.read(1000)
