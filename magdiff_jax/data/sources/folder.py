"""A plain folder of videos, with captions in a table or in text files, and masks in a folder of their own."""

import os
import unicodedata
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from magdiff_jax.data.files import FileClip, open_clip
from magdiff_jax.data.sources.captions import Row, read_rows
from magdiff_jax.data.sources.layout import check_within
from magdiff_jax.errors import UserError
from magdiff_jax.media.readers import DEFAULT_FPS, is_picture_name
from magdiff_jax.media.writing import check_fps
from magdiff_jax.text import printable, read_text

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
# Clips, of which each remembers the times of its frames: a few kilobytes.
_KEPT = 4096


class _Entry(NamedTuple):
    id: str
    path: Path
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
        self._folder, self._name, self._fps = Path(folder), name, fps
        # Flags can say "", but not None.
        self._captions = Path(captions) if captions else None
        self._masks = Path(masks) if masks else None
        for needed in (Path(folder), self._masks):
            if needed is not None and not needed.is_dir():
                raise UserError(f"{needed} is no folder: check the path")
        videos = _by_id(Path(folder), self._masks)
        rows = {} if self._captions is None else _rows_by_id(self._captions, Path(folder), videos)
        self._entries = [_Entry(id, path, rows.get(id)) for id, path in sorted(videos.items())]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> FileClip:
        return self._clips(index)

    def id(self, index: int) -> str:
        """A clip's id, which is known without opening it."""
        return printable(self._entries[index].id)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_clips"}

    @cached_property
    def _clips(self) -> Callable[[int], FileClip]:
        """Clips that were touched lately: what a file's packets told is not asked for again in the next epoch."""
        return lru_cache(_KEPT)(self._open)

    def _open(self, index: int) -> FileClip:
        entry = self._entries[index]
        caption, provenance = self._caption(entry)
        masks = None if self._masks is None else _find_masks(self._masks, entry.id)
        if masks is not None and self._masks is not None:
            provenance["masks"] = {"from": str(masks.relative_to(self._masks.parent))}
        return open_clip(
            entry.path,
            id=self.id(index),
            source=self._name,
            caption=caption,
            label=entry.row.label if entry.row else "",
            category=entry.row.category if entry.row else "other",
            provenance=provenance,
            masks=masks,
            fps=self._fps,
        )

    def _caption(self, entry: _Entry) -> tuple[str, dict[str, Any]]:
        if entry.row is not None and self._captions is not None:
            box = {} if entry.row.box is None else {"box": list(entry.row.box)}
            return entry.row.caption, {"caption": {"from": self._captions.name}, **box}
        text = entry.path.parent / f"{PurePosixPath(entry.id).name}.txt"
        if self._captions is not None or not os.path.isfile(text):
            return "", {}
        check_within(self._folder, text)
        return read_text(text).strip(), {"caption": {"from": text.name}}


def _by_id(folder: Path, masks: Path | None) -> dict[str, Path]:
    videos: dict[str, Path] = {}
    for path in _walk(folder, masks):
        within = path.relative_to(folder)
        id = (within if path.is_dir() else within.with_suffix("")).as_posix()
        if id in videos:
            raise UserError(f"{folder}: {videos[id].name} and {path.name} both have the id {id}: rename one")
        videos[id] = path
    if not videos:
        raise UserError(f"{folder} holds no videos ({', '.join(VIDEO_SUFFIXES)}) and no folders of pictures")
    return videos


def _walk(folder: Path, masks: Path | None) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}; check the folder") from error

    for parent, folders, files in os.walk(folder, onerror=fail):
        here = Path(parent)
        folders[:] = [
            name for name in folders if name[0] != "." and not (masks and (here / name).resolve() == masks.resolve())
        ]
        names = [name for name in files if name[0] != "."]
        videos = [here / name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES]
        yield from videos
        if not videos and here != folder and any(is_picture_name(name) for name in names):
            yield here


def _rows_by_id(captions: Path, folder: Path, videos: dict[str, Path]) -> dict[str, Row]:
    ids: dict[str, str] = {}
    for id, path in videos.items():
        ids[_normal(id)] = ids[_normal(path.relative_to(folder).as_posix())] = id
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


def _find_masks(masks: Path, id: str) -> Path | None:
    # With such a suffix a name may be longer than the system takes: then it is not there, and no error.
    if os.path.isdir(masks / id):
        return masks / id
    for suffix in (*VIDEO_SUFFIXES, ".png", ".webp", ".jpg"):
        if os.path.isfile(masks / f"{id}{suffix}"):
            return masks / f"{id}{suffix}"
    return None
