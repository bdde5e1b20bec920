"""Files and folders that are whole or not there: written beside, then renamed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_jax.errors import UserError, refusal, refusals_told

PROGRAM = b"magdiff_jax"
_BESIDE = ".writing-"
# Bytes that a folder must have room for before the work for it begins.
LEAST_ROOM = 64 << 10


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write a file or folder to; it takes `path`'s place at the end.

    When the body fails, `path` is as it was and nothing else is left behind.

    Raises:
        UserError: the operating system refuses (no such folder, no permission, disk full).
    """
    path = Path(os.path.abspath(path))
    with _beside(path, path) as (new, old):
        yield new
        if path.is_dir():
            path.rename(old)  # a folder cannot be renamed onto one that holds files
        try:
            new.replace(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise


@contextmanager
def _beside(path: Path, told: Path) -> Iterator[tuple[Path, Path]]:
    """Paths in a new folder beside `path`, with its name for what is new and for what is old. Errors name `told`."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=_BESIDE) as beside:
            new, old = Path(beside, "new", path.name), Path(beside, "old")
            new.parent.mkdir()
            yield new, old
    except OSError as error:
        raise UserError(f"{told} could not be written: {refusal(error)}") from error


def left_behind(folder: Path) -> list[Path]:
    """What `replacing` has left in a folder where its process was killed: folders of its names, with nothing else."""
    found = [path for path in folder.iterdir() if path.name.startswith(_BESIDE) and path.is_dir()]
    return [path for path in found if {part.name for part in path.iterdir()} <= {"new", "old"}]


def check_writable(path: Path) -> None:
    """Say before the work whether `replacing` could write a file or folder: a small one is written, and removed.

    Raises:
        UserError: as `replacing`.
    """
    _probe(Path(os.path.abspath(path)), path)


def check_fillable(folder: Path) -> None:
    """Say before the work whether files can be written into a folder, which may have to be made, with its parents.

    Raises:
        UserError: as `replacing`; or it is a file.
    """
    path = Path(os.path.abspath(folder))
    with refusals_told():
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        if not there.is_dir():
            raise UserError(f"{there} is no folder: choose another place than {folder}")
    for name in path.relative_to(there).parts or ("new",):
        _probe(there / name, folder)


def _probe(path: Path, told: Path) -> None:
    with _beside(path, told) as (new, _):
        new.write_bytes(bytes(LEAST_ROOM))


def check_replaceable(folder: Path, mark: str) -> None:
    """Check that a folder may be replaced.

    Args:
        folder: that is to be written.
        mark: name of a file in each such folder, whose first lines name this program.

    Raises:
        UserError: it is something else than an empty folder or one that this program wrote, or cannot be looked at.
    """
    with refusals_told():
        may_be = _is_free(folder, mark)
    if may_be:
        return
    raise UserError(
        f"{folder} holds something else (no {mark} of magdiff_jax) and is not replaced: choose another folder"
    )


def holds_mark(folder: Any, mark: str) -> bool:
    """Whether a folder has this file, and it names this program in its first lines."""
    if not (folder / mark).is_file():
        return False
    with (folder / mark).open("rb") as file:
        return PROGRAM in file.read(1000)


def _is_free(folder: Path, mark: str) -> bool:
    return not folder.exists() or (folder.is_dir() and (not any(folder.iterdir()) or holds_mark(folder, mark)))
