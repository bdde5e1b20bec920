"""The record: one clip as a tf.train.Example in an ArrayRecord file, read and written without TensorFlow.

Frames are JPEG bytes and masks PNG bytes, so that a reader decodes the few frames it needs; the schema is that of
`builder.ClipBuilder`, and data/README.md describes it.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from magdiff_jax.data.clip import CATEGORIES, Clip, ClipInfo, Frames, Masks
from magdiff_jax.errors import UserError

# At this quality and with whole chroma, a frame differs from its source by about one level.
_JPEG_QUALITY = 95


def encode(clip: Clip) -> dict[str, Any]:
    """A clip as the values of one record, in the types of `builder.ClipBuilder`'s schema."""
    info = clip.info
    indices = range(info.length)
    masks, areas = clip.masks(indices), clip.areas()
    return {
        "id": info.id,
        "source": info.source,
        "frames": [_to_jpeg(frame) for frame in clip.frames(indices)],
        "masks": [] if masks is None else [_to_png(mask) for mask in masks],
        "areas": [] if areas is None else [float(area) for area in areas],
        "size": [info.height, info.width],
        "fps": info.fps,
        "caption": info.caption,
        "augmented_caption": info.augmented_caption,
        "label": info.label,
        "category": info.category,
        "provenance": json.dumps(info.provenance, ensure_ascii=False, sort_keys=True),
    }


class RecordClip:
    """A clip in the bytes of one record."""

    def __init__(self, record: bytes):
        from tensorflow_datasets.proto import tf_example_pb2

        self._values = tf_example_pb2.Example.FromString(record).features.feature

    @cached_property
    def info(self) -> ClipInfo:
        values = self._values
        height, width = values["size"].int64_list.value
        return ClipInfo(
            id=self._text("id"),
            source=self._text("source"),
            length=len(values["frames"].bytes_list.value),
            height=height,
            width=width,
            fps=values["fps"].float_list.value[0],
            caption=self._text("caption"),
            augmented_caption=self._text("augmented_caption"),
            label=self._text("label"),
            category=CATEGORIES[values["category"].int64_list.value[0]],
            provenance=json.loads(self._text("provenance")),
        )

    def frames(self, indices: Sequence[int]) -> Frames:
        import cv2

        encoded = self._values["frames"].bytes_list.value
        return np.stack([self._decode(encoded[index], cv2.IMREAD_COLOR_RGB) for index in indices])

    def masks(self, indices: Sequence[int]) -> Masks | None:
        import cv2

        encoded = self._values["masks"].bytes_list.value
        if not encoded:
            return None
        return np.stack([self._decode(encoded[index], cv2.IMREAD_GRAYSCALE) > 127 for index in indices])

    def areas(self) -> np.ndarray | None:
        areas = np.array(self._values["areas"].float_list.value, np.float32)
        return areas if len(areas) else None

    def _decode(self, encoded: bytes, flags: int) -> np.ndarray:
        import cv2

        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        if image is None or image.shape[:2] != (self.info.height, self.info.width):
            raise UserError(
                f"record {self.info.id!r} is damaged: a frame or mask of it is no {self._size}-pixel picture"
            )
        return image

    @property
    def _size(self) -> str:
        return f"{self.info.width}x{self.info.height}"

    def _text(self, name: str) -> str:
        return self._values[name].bytes_list.value[0].decode()


class RecordSource:
    """The clips of one split of a record data set, in the order of its files.

    Args:
        folder: that holds the files, such as `…/emoji_motion/1.0.0`, or one above with a single such folder in it.
        split: such as "train".

    Raises:
        UserError: there is no such data set or split.
    """

    def __init__(self, folder: str | Path, split: str = "train"):
        self._files = record_files(Path(folder), split)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> RecordClip:
        return RecordClip(self._records[index])

    def __getstate__(self) -> dict[str, Any]:
        return {"_files": self._files}

    @cached_property
    def _records(self) -> Any:
        import grain

        return grain.sources.ArrayRecordDataSource([str(file) for file in self._files])


def record_files(folder: Path, split: str) -> list[Path]:
    """The ArrayRecord files of a split, in order. Raises UserError where there are none."""
    folder = dataset_folder(folder)
    files = sorted(folder.glob(f"*-{split}.array_record-*-of-*"))
    if not files:
        there = sorted(
            {file.name.split(".array_record")[0].rsplit("-", 1)[-1] for file in folder.glob("*.array_record*")}
        )
        raise UserError(f"{folder} has no split {split!r}; it has {', '.join(there) or 'none'}")
    return files


def dataset_folder(folder: Path) -> Path:
    """The folder with dataset_info.json: `folder` or the only one of those below it."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name a data set's folder, with dataset_info.json in it")
    found = (
        [folder]
        if (folder / "dataset_info.json").is_file()
        else sorted(path.parent for path in folder.glob("*/dataset_info.json"))
        or sorted(path.parent for path in folder.glob("*/*/dataset_info.json"))
    )
    if len(found) != 1:
        what = "several data sets: " + ", ".join(str(path) for path in found) if found else "no dataset_info.json"
        raise UserError(f"{folder} holds {what}; name the folder of one data set")
    return found[0]


def _to_jpeg(frame: np.ndarray) -> bytes:
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encoded(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)


def _to_png(mask: np.ndarray) -> bytes:
    import cv2

    return _encoded(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])


def _encoded(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    import cv2

    _, encoded = cv2.imencode(suffix, image, options)
    return encoded.tobytes()
