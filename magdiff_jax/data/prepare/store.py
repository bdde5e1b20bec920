"""What has become of each clip so far, on disk: so a run that was killed goes on where it was.

A clip's outcome is one file, a record or a rejection, written beside and renamed. Workers on other machines need the
folder too.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from magdiff_jax.errors import UserError
from magdiff_jax.replacing import replacing
from magdiff_jax.text import parse_json, printable, read_text, to_json

_CONFIG = "config.json"
_RECORD, _REJECTED = ".record", ".json"


class Rejection(NamedTuple):
    """A clip or video that was put aside, a line of rejected.jsonl."""

    id: str
    split: str
    rule: str
    reason: str


class Store:
    """Outcomes by split and id."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def begin(self, fingerprint: str) -> None:
        """Make the folder, or go on with it.

        Raises:
            UserError: it belongs to a run with another config.
        """
        mark = self.folder / _CONFIG
        if mark.is_file() and parse_json(read_text(mark), str(mark)) != fingerprint:
            raise UserError(f"{self.folder} belongs to a run with another config: choose another --out or --overwrite")
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(mark) as new:
            new.write_text(to_json(fingerprint), encoding="utf-8")

    def has(self, split: str, identifier: str) -> bool:
        """Whether this clip's outcome is known."""
        path = self._path(split, identifier)
        return path.with_suffix(_RECORD).exists() or path.with_suffix(_REJECTED).exists()

    def keep(self, split: str, identifier: str, record: bytes) -> None:
        """This clip has become a record."""
        self._write(self._path(split, identifier).with_suffix(_RECORD), record)

    def reject(self, rejection: Rejection) -> None:
        """This clip is put aside."""
        path = self._path(rejection.split, rejection.id).with_suffix(_REJECTED)
        self._write(path, to_json(rejection._asdict()).encode())

    def records(self, split: str) -> list[Path]:
        """The files of a split's records, in an order that hangs on their ids alone."""
        return sorted(self.folder.glob(f"{split}/*/*{_RECORD}"))

    def rejections(self) -> list[Rejection]:
        """All that was put aside, by split and id."""
        files = self.folder.glob(f"*/*/*{_REJECTED}")
        return sorted(Rejection(**parse_json(read_text(path), str(path))) for path in files)

    def count(self) -> int:
        """How many outcomes there are."""
        return sum(1 for _ in self.folder.glob("*/*/*.*"))

    def _path(self, split: str, identifier: str) -> Path:
        # Ids are anything, and some file systems are slow with many files in one folder.
        digest = hashlib.sha256(printable(identifier).encode()).hexdigest()[:32]
        return self.folder / split / digest[:2] / digest

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            new.write_bytes(content)
