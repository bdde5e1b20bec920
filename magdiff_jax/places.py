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

# A `Path`, or what epath has in its place for a bucket: neither is derived from the other.
Place = Any

# What fsspec needs for each kind of bucket.
_BUCKETS = {"gs://": "gcsfs", "s3://": "s3fs"}


def place(path: str | os.PathLike[str]) -> Place:
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
    import fsspec
    from etils import epath

    # Other machines write there too: what was listed before is not what is there.
    fsspec.config.conf.setdefault(scheme, {})["use_listings_cache"] = False
    return epath.Path(text)


def is_remote(path: Place) -> bool:
    """Whether a path of `place` is in a bucket."""
    return os.fspath(path).startswith(tuple(_BUCKETS))


def write_whole(path: Place, content: bytes) -> None:
    """Write a file that is whole or not there, with the folders above it. Raises UserError as `replacing`."""
    if is_remote(path):
        path.write_bytes(content)  # what is written to a bucket is seen when all of it is there
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_bytes(content)


@contextmanager
def writing_whole(path: Place) -> Iterator[Path]:
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
def fetched(path: Place) -> Iterator[Path]:
    """A file or folder on this machine: itself, or a copy of what is in a bucket that is gone afterwards."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="magdiff_jax-") as folder:
        here = Path(folder, path.name)
        fetch(path, here)
        yield here


def fetch(path: Place, here: Path) -> None:
    """Copy a file or folder of a bucket to this machine. Raises FileNotFoundError where there is none."""
    if path.is_dir():
        here.mkdir()
        for child in path.iterdir():
            fetch(child, here / child.name)
        return
    with path.open("rb") as source, here.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 24)


def remove_tree(path: Place) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is none. Links are not followed."""
    if is_remote(path):
        if path.exists():
            path.rmtree() if path.is_dir() else path.unlink()
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def walk(folder: Place) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every folder below one, itself first: its path within it ("" for itself), the names of its folders, of its files.

    What is taken out of the list of folders is not walked through. Linked folders are not followed.

    Raises:
        UserError: a folder may not be read.
    """
    if not is_remote(folder):
        top = os.fspath(folder).rstrip("/")
        for parent, folders, files in os.walk(top, onerror=_refuse):
            yield parent[len(top) + 1 :].replace(os.sep, "/"), folders, files
        return
    files_of, top = _bucket(folder)
    waiting = [""]
    while waiting:
        here = waiting.pop()
        # A folder that was made by hand in a bucket lists itself.
        entries = {
            _within(entry, f"{top}/{here}"): entry["type"] for entry in files_of.ls(f"{top}/{here}", detail=True)
        }
        folders = [name for name, kind in entries.items() if kind == "directory" and name]
        yield here.rstrip("/"), folders, [name for name, kind in entries.items() if kind == "file" and name]
        waiting += [f"{here}{name}/" for name in folders]


def list_files(folder: Place, sizes: bool = False) -> Iterator[tuple[str, int]]:
    """The files below a folder by their paths within it, and their sizes in bytes (0 unless these are asked for).

    What is in hidden folders is left out, such as what is being written. A folder that is not there has none.
    """
    if is_remote(folder):
        files_of, top = _bucket(folder)
        for entry in files_of.find(top, detail=True).values():
            yield _within(entry, top), entry["size"]
        return
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(folder / here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting += [] if entry.name.startswith(".") else [f"{here}{entry.name}/"]
                    else:
                        yield here + entry.name, entry.stat().st_size if sizes else 0
        except FileNotFoundError:
            continue  # it is gone since it was listed


def _bucket(folder: Place) -> tuple[Any, str]:
    """fsspec's file system of a bucket's folder, and what the folder is called there."""
    import fsspec

    files, name = fsspec.core.url_to_fs(os.fspath(folder))
    return files, name.rstrip("/")


def _within(entry: Any, folder: str) -> str:
    return entry["name"].rstrip("/")[len(folder.rstrip("/")) + 1 :]


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; check the folder") from error
