"""A plain folder of videos, with captions in a table or in text files, and masks in a folder of their own."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from magdiff_jax.data.files import FileClip, open_clip
from magdiff_jax.data.sources.captions import Row, read_rows
from magdiff_jax.errors import UserError
from magdiff_jax.media.readers import DEFAULT_FPS, is_picture_name
from magdiff_jax.media.writing import check_fps
from magdiff_jax.places import is_remote, place, walk
from magdiff_jax.text import TextFile, printable

VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".flv",
    ".wmv",
    ".ogv",
    ".gif",
)
_MASK_SUFFIXES = (".png", ".webp", ".jpg")
# Clips, of which each remembers the times of its frames: a few kilobytes.
_KEPT = 4096


class _Entry(NamedTuple):
    """A video as its folder's list has it; `name` and the others are paths within their folders."""

    id: str
    name: str
    caption_file: str | None
    masks: str | None
    row: Row | None


class FolderSource:
    """The videos in a folder and in those below it, in the order of their ids.

    A video is a file with one of `VIDEO_SUFFIXES`, or a folder of pictures without a video in it. All other files, and
    hidden ones, are passed over. An id is the path within the folder, without the suffix. Videos are listed here, and
    opened when a clip is touched: a bad one does not stand in the way of others.

    Args:
        folder: of the videos.
        captions: a table of them, see `captions.read_rows`; a video that is not in it has an empty caption. None or
            "" for captions in a text file beside each video (`NAME.txt`), and empty ones where there is none. A link
            that leads out of `folder` is no such file, and an error of its video.
        masks: a folder with the masks of each video under its id: a folder of pictures, a video, or one picture for
            all frames. A video without has no masks; with None or "" there are none.
        name: `ClipInfo.source`.
        fps: of folders of pictures.

    Raises:
        UserError: there is no such folder, no video in it, two videos have one id, or the table has a mistake: a
            missing or doubled video, or what `captions.read_rows` names.
    """

    def __init__(
        self,
        folder: str | Path,
        captions: str | Path | None = None,
        masks: str | Path | None = None,
        name: str = "folder",
        fps: float = DEFAULT_FPS,
    ):
        check_fps(fps)
        self._name, self._fps = name, fps
        # Flags can say "", but not None.
        self._captions = place(captions) if captions else None
        self._masks = place(masks) if masks else None
        self._folder = place(folder)
        for needed in (self._folder, self._masks):
            if needed is not None and not needed.is_dir():
                raise UserError(f"{needed} is no folder: check the path")
        texts: set[str] = set()
        videos = _by_id(self._folder, _list(self._folder, self._masks, texts))
        rows = {} if self._captions is None else _rows_by_id(self._captions, self._folder, videos)
        mask_names = {} if self._masks is None else _list_masks(self._masks, set(videos))
        self._entries = [
            _Entry(
                id,
                name,
                f"{id}.txt" if self._captions is None and f"{id}.txt" in texts else None,
                mask_names.get(id),
                rows.get(id),
            )
            for id, name in sorted(videos.items())
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> FileClip:
        return self._clips(index)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_clips"}

    @cached_property
    def _clips(self) -> Callable[[int], FileClip]:
        """Clips that were touched lately: what a file's packets told is not asked for again in the next epoch."""
        return lru_cache(_KEPT)(self._open)

    def _open(self, index: int) -> FileClip:
        entry, provenance = self._entries[index], dict[str, Any]()
        row, caption_file, masks = entry.row, None, None
        if row is not None and self._captions is not None:
            provenance["caption"] = {"from": self._captions.name}
            if row.box is not None:
                provenance["box"] = list(row.box)
        if entry.caption_file is not None:
            caption_file = self._folder / entry.caption_file
            provenance["caption"] = {"from": caption_file.name}
        if entry.masks is not None and self._masks is not None:
            masks = self._masks / entry.masks
            provenance["masks"] = {"from": f"{self._masks.name}/{entry.masks}"}
        return open_clip(
            self._folder / entry.name,
            id=printable(entry.id),
            source=self._name,
            caption=row.caption if row else "",
            caption_file=None if caption_file is None else TextFile(caption_file, self._folder),
            label=row.label if row else "",
            category=row.category if row else "other",
            provenance=provenance,
            masks=masks,
            fps=self._fps,
        )


def _list(folder: Any, masks: Any, texts: set[str]) -> Iterator[tuple[str, str]]:
    """The id and the name of each video of a folder, but of those in the folder `masks`; adds to `texts` what may be
    captions. Names are texts within the folder, and no paths: there may be very many.
    """
    for here, folders, files in walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and not (masks and _same(folder / here / name, masks))]
        names = [name for name in files if name[0] != "."]
        below = f"{here}/" if here else ""
        found = [name for name in names if _suffix(name) in VIDEO_SUFFIXES]
        texts.update(below + name for name in names if _suffix(name) == ".txt")
        yield from ((below + _stem(name), below + name) for name in found)
        if here and not found and any(is_picture_name(name) for name in names):
            yield here, here


def _list_masks(folder: Any, ids: set[str]) -> dict[str, str]:
    """The name within the folder of each video's masks. A folder comes before a video, and a video before a picture."""
    above = {parent for id in ids if "/" in id for parent in _parents(id)}
    order = {suffix: rank for rank, suffix in enumerate((*VIDEO_SUFFIXES, *_MASK_SUFFIXES))}
    found: dict[str, tuple[int, str]] = {}
    for here, folders, files in walk(folder):
        below = f"{here}/" if here else ""
        named = [(-1, below + name, below + name) for name in folders]
        named += [(order[_suffix(name)], below + _stem(name), below + name) for name in files if _suffix(name) in order]
        for rank, id, name in named:
            if id in ids and rank < found.get(id, (len(order), ""))[0]:
                found[id] = rank, name
        # Of what lies in a folder of masks, nothing is asked here.
        folders[:] = [name for name in folders if below + name not in ids or below + name in above]
    return {id: name for id, (_, name) in found.items()}


def _parents(id: str) -> Iterator[str]:
    while "/" in id:
        id = id.rpartition("/")[0]
        yield id


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _same(one: Any, other: Any) -> bool:
    return one == other if is_remote(one) else one.resolve() == other.resolve()


def _by_id(folder: Any, listed: Iterable[tuple[str, str]]) -> dict[str, str]:
    videos: dict[str, str] = {}
    for id, name in listed:
        if id in videos:
            raise UserError(f"{folder}: {videos[id]} and {name} both have the id {id}: rename one")
        videos[id] = name
    if not videos:
        raise UserError(f"{folder} holds no videos ({', '.join(VIDEO_SUFFIXES)}) and no folders of pictures")
    return videos


def _rows_by_id(captions: Any, folder: Any, videos: dict[str, str]) -> dict[str, Row]:
    ids: dict[str, str] = {}
    for id, listed in videos.items():
        ids[_normal(id)] = ids[_normal(listed)] = id
    rows: dict[str, Row] = {}
    for row in read_rows(captions):
        where, name = f"{captions} line {row.line}", PurePosixPath(row.video)
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{where}: {row.video!r} leaves the folder: give the path within {folder}")
        found = ids.get(_normal(name.as_posix()))
        if found is None:
            raise UserError(f"{where}: there is no video {row.video!r} in {folder}: mend the line or take it out")
        if found in rows:
            raise UserError(f"{where}: {row.video!r} is on line {rows[found].line} already: keep one")
        rows[found] = row
    return rows


def _normal(name: str) -> str:
    """An accent may be a character of its own in a name, as macOS writes it, or not."""
    return unicodedata.normalize("NFC", name)
