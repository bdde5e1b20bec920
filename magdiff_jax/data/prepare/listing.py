"""The videos of a run, listed once: what is done with each is told by its split and id from there on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from magdiff_jax.data.clip import Clip, Source
from magdiff_jax.data.records import RecordSource
from magdiff_jax.data.sources import open_source
from magdiff_jax.errors import UserError
from magdiff_jax.places import Place
from magdiff_jax.text import printable, to_json


class StoredClip(NamedTuple):
    """A clip of a record data set, not read yet.

    Attributes:
        file: of records.
        number: in the file, from 0.
    """

    file: Place
    number: int

    @property
    def id(self) -> str:
        """Its place, as only the record itself tells its id."""
        return f"{self.file.name}#{self.number}"

    def open(self) -> Clip:
        """Raises UserError where the record is damaged."""
        return RecordSource.of_files([self.file])[self.number]


class Video(NamedTuple):
    """A video of a run.

    Attributes:
        split: that it belongs to.
        id: within the split.
        clip: the video itself, not opened yet. It can be pickled, and is the same wherever its files are.
    """

    split: str
    id: str
    clip: Any

    def open(self) -> Clip:
        """Raises UserError where it is a record that is damaged."""
        return self.clip.open() if isinstance(self.clip, StoredClip) else self.clip


def list_videos(splits: Mapping[str, Mapping[str, Any]]) -> list[Video]:
    """The videos of all sources, in their order.

    Raises:
        ConfigError: as `open_source`.
        UserError: as `open_source`; or two videos of a split have one id.
    """
    videos: list[Video] = []
    for split, spec in splits.items():
        ids: set[str] = set()
        for clip in _clips(open_source(spec)):
            id = printable(clip.id)
            if id in ids:
                raise UserError(f"{split}: two videos have the id {id!r}: rename one")
            ids.add(id)
            videos.append(Video(split, id, clip))
    return videos


def names(videos: Sequence[Video]) -> dict[str, list[str]]:
    """The ids of each split."""
    found: dict[str, list[str]] = {}
    for video in videos:
        found.setdefault(video.split, []).append(video.id)
    return found


def fingerprint(videos: Sequence[Video]) -> str:
    """Of the list: ids, and what the sources know of each video."""
    digest = hashlib.sha256()
    for split, id, clip in videos:
        digest.update(to_json([split, id, getattr(clip, "known", None)]).encode())
    return digest.hexdigest()[:16]


def _clips(source: Source) -> Iterator[Any]:
    if isinstance(source, RecordSource):
        for file, count in source.counts():
            yield from (StoredClip(file, number) for number in range(count))
    else:
        yield from (source[index] for index in range(len(source)))
