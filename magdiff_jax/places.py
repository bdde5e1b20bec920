"""Files and folders here or in a bucket: gs:// and s3://, through etils' epath and fsspec."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_jax.errors import UserError
from magdiff_jax.extras import require
from magdiff_jax.replacing import replacing

# What fsspec needs for each kind of bucket.
_BUCKETS = {"gs://": "gcsfs", "s3://": "s3fs"}


def place(path: str | os.PathLike[str]) -> Any:
    """An absolute path, which means the same on every machine that has the file: `Path`, or epath's for a bucket.

    Raises:
        UserError: it is of a kind that is not read here, or the package for its kind of bucket is not installed.
    """
    text = os.fspath(path)
    scheme, found, _ = text.partition("://")
    if not found:
        return Path(os.path.abspath(os.path.expanduser(text)))
    if f"{scheme}://" not in _BUCKETS:
        raise UserError(f"{text}: give a path of this machine, or one that begins with {' or '.join(_BUCKETS)}")
    require("cloud", _BUCKETS[f"{scheme}://"])
    from etils import epath

    return epath.Path(text)


def is_remote(path: Any) -> bool:
    """Whether a path of `place` is in a bucket."""
    return os.fspath(path).startswith(tuple(_BUCKETS))


def write_whole(path: Any, content: bytes) -> None:
    """Write a file that is whole or not there, with the folders above it. Raises UserError as `replacing`."""
    if is_remote(path):
        path.write_bytes(content)  # what is written to a bucket is seen when all of it is there
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_bytes(content)


@contextmanager
def writing_whole(path: Any) -> Iterator[Path]:
    """The same for what only libraries write: yields a path of this machine to write to."""
    if not is_remote(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            yield new
        return
    with tempfile.TemporaryDirectory(prefix="magdiff_jax-") as folder:
        new = Path(folder, path.name)
        yield new
        with new.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 24)


@contextmanager
def fetched(path: Any) -> Iterator[Path]:
    """A file or folder on this machine: itself, or a copy of what is in a bucket that is gone afterwards."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="magdiff_jax-") as folder:
        here = Path(folder, path.name)
        fetch(path, here)
        yield here


def fetch(path: Any, here: Path) -> None:
    """Copy a file or folder of a bucket to this machine. Raises FileNotFoundError where there is none."""
    if path.is_dir():
        here.mkdir()
        for child in path.iterdir():
            fetch(child, here / child.name)
        return
    with path.open("rb") as source, here.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 24)


def remove_tree(path: Any) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is none. Links are not followed."""
    if is_remote(path):
        if path.exists():
            path.rmtree() if path.is_dir() else path.unlink()
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def walk(folder: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every folder below one, itself first: its path within it ("" for itself), the names of its folders, of its files.

    What is taken out of the list of folders is not walked through. Linked folders are not followed.

    Raises:
        UserError: a folder may not be read.
    """
    top = os.fspath(folder).rstrip("/")
    if not is_remote(folder):
        for parent, folders, files in os.walk(top, onerror=_refuse):
            yield parent[len(top) + 1 :].replace(os.sep, "/"), folders, files
        return
    left_out: list[str] = []  # a bucket is listed as a whole: what was taken out is passed over here
    for parent, folders, files in folder.walk():
        here = os.fspath(parent).rstrip("/")[len(top) + 1 :]
        if f"{here}/".startswith(tuple(left_out)):
            continue
        kept = list(folders)
        yield here, kept, [name for name in files if name]
        left_out += [f"{here}/{name}/".lstrip("/") for name in folders if name not in kept]


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; check the folder") from error
