"""What has become of each clip so far, on disk or in a bucket: so a run that was killed goes on where it was.

A clip's outcome is one file, which is whole or not there, under a name that follows from its split and id: a record, or
a rejection; or, until the next run tries again, an error. Workers on other machines need the folder too.
"""

import hashlib
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from magdiff_jax.errors import Stopped, UserError
from magdiff_jax.places import list_files, place, remove_tree, write_whole
from magdiff_jax.replacing import PROGRAM
from magdiff_jax.text import parse_json, printable, read_text, to_json

# The files and folders of a store.
MARK, NAMES, PLAN = "run.json", "videos.jsonl", "plan.json"
_OUTCOMES, _ERRORS, _TRIES, _SHARDS = "outcomes", "errors", "tries", "shards"
PARTS = {MARK, NAMES, PLAN, _OUTCOMES, _ERRORS, _TRIES, _SHARDS}
_RECORD, _REJECTED = ".record", ".json"


class Rejection(NamedTuple):
    """A clip or video that was put aside, a line of rejected.jsonl."""

    id: str
    split: str
    rule: str
    reason: str


class Run(NamedTuple):
    """What a store is of: two runs that are equal in it have the same outcomes.

    Attributes:
        config: fingerprint of all that decides what a clip becomes.
        videos: fingerprint of the list of videos.
    """

    config: str
    videos: str


class Store:
    """Outcomes by split and id.

    Args:
        folder: an absolute path, or one of a bucket.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = place(folder)

    def begin(self, run: Run, names: Mapping[str, Iterable[str]]) -> None:
        """Make the folder for a run, or go on with it: what ended in an error is tried again.

        Args:
            run: what it is.
            names: the ids of the videos of each split.

        Raises:
            UserError: the folder belongs to another run, or to something else.
        """
        mark = self.folder / MARK
        found = self._begun()
        if found is None and self.folder.exists() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder} holds something else than a run of magdiff_jax: choose another --out")
        if found is not None and found.config != run.config:
            raise UserError(f"{self.folder} belongs to a run with another config: choose another --out or --overwrite")
        if found is not None and found.videos != run.videos:
            raise UserError(f"{self.folder} belongs to a run with other videos: {self._differences(names)}")
        if found is None:
            lines = (to_json([split, id]) + "\n" for split, ids in names.items() for id in ids)
            write_whole(self.folder / NAMES, "".join(lines).encode())
            write_whole(mark, to_json({"program": PROGRAM.decode(), **run._asdict()}).encode())
            return
        for path in (*self._files(_ERRORS), *self._tried_in_vain()):
            path.unlink()

    def check(self) -> None:
        """Raises Stopped where the run's mark cannot be seen: results would go to another disk than the others'."""
        if self._begun() is None:
            raise Stopped(
                f"the worker on {socket.gethostname()} does not see {self.folder / MARK}: give --out in a folder or "
                "bucket that all machines reach under the same name"
            )

    def known(self) -> set[tuple[str, str]]:
        """Split and `key` of each outcome, and of each record that is in its shard already."""
        names = (name.split("/") for name, _ in list_files(self.folder / _OUTCOMES))
        return {(split, _stem(name)) for split, _, name in names}

    def has(self, split: str, identifier: str) -> bool:
        """Whether this clip's outcome is known."""
        path = self._path(split, identifier)
        return path.with_suffix(_RECORD).exists() or path.with_suffix(_REJECTED).exists()

    def keep(self, split: str, identifier: str, record: bytes) -> None:
        """This clip has become a record."""
        write_whole(self._path(split, identifier).with_suffix(_RECORD), record)

    def reject(self, rejection: Rejection) -> None:
        """This clip is put aside."""
        path = self._path(rejection.split, rejection.id).with_suffix(_REJECTED)
        write_whole(path, to_json(rejection._asdict()).encode())

    def fail(self, rejection: Rejection) -> None:
        """This clip is put aside until the next run."""
        path = self.folder / _ERRORS / rejection.split / f"{key(rejection.id)}{_REJECTED}"
        write_whole(path, to_json(rejection._asdict()).encode())

    def count_try(self, split: str, identifier: str, why: str) -> int:
        """A machine gave up on this clip. Returns how often that has been so."""
        path = self.folder / _TRIES / split / f"{key(identifier)}{_REJECTED}"
        tries = 1 + (_read(path)["tries"] if path.exists() else 0)
        write_whole(path, to_json({"id": identifier, "tries": tries, "why": why}).encode())
        return tries

    def records(self, split: str) -> list[tuple[str, int]]:
        """The key and the bytes of each record of a split, in an order that hangs on their ids alone."""
        files = list_files(self.folder / _OUTCOMES / split, sizes=True)
        return sorted((_stem(name[3:]), size) for name, size in files if name.endswith(_RECORD))

    def record(self, split: str, key: str) -> Any:
        """The path of a record."""
        return self.folder / _OUTCOMES / split / key[:2] / f"{key}{_RECORD}"

    def shard(self, name: str) -> Any:
        """The path of what is known of a shard that is written."""
        return self.folder / _SHARDS / f"{name}.json"

    def rejections(self) -> list[Rejection]:
        """All that was put aside, by split and id."""
        files = [path for path in self._files(_OUTCOMES) if path.suffix == _REJECTED]
        return sorted(Rejection(**_read(path)) for path in [*files, *self._files(_ERRORS)])

    def count(self) -> int:
        """How many outcomes there are, errors among them."""
        return sum(1 for _ in list_files(self.folder / _OUTCOMES)) + self.count_errors()

    def count_errors(self) -> int:
        """How many clips ended in an error."""
        return sum(1 for _ in list_files(self.folder / _ERRORS))

    def an_error(self) -> Rejection:
        """One of the clips that ended in an error, of which there must be some."""
        return Rejection(**_read(min(self._files(_ERRORS))))

    def count_shards(self) -> int:
        """How many shards are written."""
        return sum(1 for _ in list_files(self.folder / _SHARDS))

    def is_ours(self) -> bool:
        """Whether the folder is a run's, with nothing else in it."""
        return self._begun() is not None and {path.name for path in self.folder.iterdir()} <= PARTS

    def remove(self) -> None:
        """Remove the folder. Raises UserError where anything else is in it."""
        if not self.is_ours():
            raise UserError(f"{self.folder} holds something else than a run, and is not removed: look there")
        for part in PARTS - {MARK}:
            remove_tree(self.folder / part)
        # The mark last of all, so that a removal that was stopped can be gone on with.
        remove_tree(self.folder)

    def _begun(self) -> Run | None:
        mark = self.folder / MARK
        if not mark.is_file():
            return None
        try:
            values = _read(mark)
            return Run(values["config"], values["videos"]) if values["program"] == PROGRAM.decode() else None
        except (KeyError, TypeError):
            return None

    def _differences(self, names: Mapping[str, Iterable[str]]) -> str:
        now = {(split, id) for split, ids in names.items() for id in ids}
        lines = read_text(self.folder / NAMES).splitlines()
        then = {(split, id) for split, id in (parse_json(line, NAMES) for line in lines)}
        gone, new = sorted(then - now), sorted(now - then)
        told = [f"{len(some)} {what} ({some[0][1]!r} first)" for some, what in ((gone, "gone"), (new, "new")) if some]
        what = " and ".join(told) or "their captions or masks have changed"
        return f"{what}; bring back what it was, or begin anew with another --out or --overwrite"

    def _tried_in_vain(self) -> list[Any]:
        """Tries of clips that are no longer tried: they begin anew."""
        errors = {path.name for path in self._files(_ERRORS)}
        return [path for path in self._files(_TRIES) if path.name in errors]

    def _path(self, split: str, identifier: str) -> Any:
        name = key(identifier)
        return self.folder / _OUTCOMES / split / name[:2] / name

    def _files(self, part: str) -> list[Any]:
        return [self.folder / part / name for name, _ in list_files(self.folder / part)]


def key(identifier: str) -> str:
    """What a clip's files are named by: ids are anything."""
    return hashlib.sha256(printable(identifier).encode()).hexdigest()[:32]


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _read(path: Any) -> Any:
    return parse_json(read_text(path), str(path))
