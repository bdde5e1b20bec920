"""DAVIS 2016 and 2017 (Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017): sequences with masks of their objects."""

from pathlib import Path

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Clip
from magdiff_jax.data.sources.captions import read_rows
from magdiff_jax.data.sources.layout import first_there, inside, read_lines
from magdiff_jax.data.sources.pictures import PictureClip
from magdiff_jax.errors import UserError
from magdiff_jax.places import Place, place

YEARS = (2016, 2017)
FPS = 24.0
OBTAIN = (
    "unpack DAVIS-2017-trainval-480p.zip in it (to DAVIS/, with JPEGImages/, Annotations/ and ImageSets/); "
    "see data/README.md"
)


class DavisSource:
    """The sequences of one split, with the masks that people drew.

    Args:
        folder: with `JPEGImages/`, `Annotations/` and `ImageSets/`, or with `DAVIS/` that has them.
        split: "train" or "val", or another for which `ImageSets/<year>/` has a list.
        resolution: the folder below `JPEGImages/`: "480p", "1080p" (2016) or "Full-Resolution" (2017).
        year: of the list; 2016 has 30 and 20 sequences, 2017 has 60 and 30.
        object_id: the object that is the subject, from 1; None for all of a sequence's objects together, as in 2016.
        captions: DAVIS has none: a table with a row for each sequence, whose name is its video; see
            `captions.read_rows`. With None or "" the caption is the sequence's name in words.

    Raises:
        ConfigError: another year, or an object below 1.
        UserError: the folder is not laid out like this, or `captions` has no row for a sequence.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        resolution: str = "480p",
        year: int = 2017,
        object_id: int | None = None,
        captions: str | Path | None = None,
    ):
        if year not in YEARS or (object_id is not None and object_id < 1):
            raise ConfigError(f"DAVIS year {year}, object_id {object_id}: must be 2016 or 2017, and at least 1 or None")
        top = place(folder)
        top = top / "DAVIS" if (top / "DAVIS").is_dir() else top
        self._pictures = first_there(top, (f"JPEGImages/{resolution}",), "DAVIS's frames", OBTAIN)
        self._labels = first_there(top, (f"Annotations/{resolution}",), "DAVIS's masks", OBTAIN)
        # The 2016 package lists pairs of files, for each resolution; the 2017 package names, for both years.
        lists = (f"ImageSets/{year}/{split}.txt", *((f"ImageSets/{resolution}/{split}.txt",) if year == 2016 else ()))
        self._names = _names(first_there(top, lists, f"a list of split {split!r}", OBTAIN))
        self._year, self._object_id = year, object_id
        self._rows = {row.video: row for row in read_rows(place(captions))} if captions else {}
        lacking = [name for name in self._names if captions and name not in self._rows]
        if lacking:
            raise UserError(f"{captions} has no row for {lacking[0]}: give one for each sequence")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Clip:
        name = self._names[index]
        row = self._rows.get(name)
        caption = row.caption if row else name.replace("-", " ")
        provenance = {
            "caption": {"from": "captions" if row else "the sequence's name"},
            "masks": {"from": f"DAVIS {self._year}, drawn by people", "object": self._object_id or "all"},
        }
        known = {
            "id": name if self._object_id is None else f"{name}/{self._object_id}",
            "source": f"davis{self._year}",
            "caption": caption,
            "augmented_caption": caption,
            "label": row.label if row else "",
            "category": row.category if row else "other",
            "provenance": provenance,
        }
        pictures, labels = inside(self._pictures, name), inside(self._labels, name)
        return PictureClip(pictures, labels, FPS, known, object_id=self._object_id)


def _names(path: Place) -> list[str]:
    """The sequences of a list, each once, in order."""
    firsts = (line.split()[0] for line in read_lines(path))
    # "bear", or "/JPEGImages/480p/bear/00000.jpg" and its mask for each frame.
    names = list(dict.fromkeys(first.split("/")[-2] if "/" in first else first for first in firsts))
    if not names:
        raise UserError(f"{path} lists no sequences: {OBTAIN}")
    return names
