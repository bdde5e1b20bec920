"""The record: one clip as a tf.train.Example in an ArrayRecord file, read and written without TensorFlow.

Frames are JPEG bytes and masks PNG bytes, so that a reader decodes the few frames it needs; the schema is that of
`builder.ClipBuilder`, and data/README.md describes it.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from magdiff_jax.data.clip import Clip, Frames, Masks, subject_areas
from magdiff_jax.data.record_fields import check_pixels, read_info
from magdiff_jax.errors import UserError
from magdiff_jax.media.headers import stated_size
from magdiff_jax.places import fetch, is_remote, place, writing_whole
from magdiff_jax.text import printable

# At this quality and with whole chroma, a frame differs from its source by about one level.
_JPEG_QUALITY = 95
_CHUNK_BYTES = 256 << 20
# Where files of records that are in a bucket are copied to.
CACHE = Path("~/.cache/magdiff_jax/records")


def encode(clip: Clip) -> dict[str, Any]:
    """A clip as the values of one record, in the types of `builder.ClipBuilder`'s schema.

    Raises:
        UserError: it is larger than a record may be, or its frames cannot be decoded.
    """
    info = clip.info
    try:
        check_pixels(info.length, info.height, info.width)
    except ValueError as error:
        raise UserError(f"clip {info.id!r}: {error}; make it shorter or smaller") from None
    frames, masks, areas = clip.encoded() if isinstance(clip, RecordClip) else _encode_pictures(clip)
    return {
        "id": info.id,
        "source": info.source,
        "frames": frames,
        "masks": masks,
        "areas": areas,
        "size": [info.height, info.width],
        "fps": info.fps,
        "caption": info.caption,
        "augmented_caption": info.augmented_caption,
        "label": info.label,
        "category": info.category,
        "provenance": printable(json.dumps(info.provenance, ensure_ascii=False, sort_keys=True)),
    }


def _encode_pictures(clip: Clip) -> tuple[list[bytes], list[bytes], list[float]]:
    frames: list[bytes] = []
    masks: list[bytes] = []
    areas: list[float] = []
    # A few frames at a time, since a whole clip may need more memory than there is.
    step = max(1, _CHUNK_BYTES // (clip.info.height * clip.info.width * 3))
    for start in range(0, clip.info.length, step):
        indices = range(start, min(start + step, clip.info.length))
        frames += [_to_jpeg(frame) for frame in clip.frames(indices)]
        some = clip.masks(indices)
        if some is not None:
            masks += [_to_png(mask) for mask in some]
            areas += [float(area) for area in subject_areas(some)]
    return frames, masks, areas


class RecordClip:
    """A clip in the bytes of one record.

    Raises:
        UserError: the bytes are no such record, or one of its fields has no possible value. Damage to a picture shows
            when it is read.
    """

    def __init__(self, record: bytes):
        from google.protobuf.message import DecodeError
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            self._values = tf_example_pb2.Example.FromString(record).features.feature
        except DecodeError:
            raise UserError("a record is damaged: its bytes are no tf.train.Example; write the records again") from None
        self.info = read_info(self._values)

    @property
    def id(self) -> str:
        return self.info.id

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

    def encoded(self) -> tuple[list[bytes], list[bytes], list[float]]:
        """Frames, masks and areas as they are in the record, so that a copy of it loses nothing."""
        frames, masks = (list(self._values[name].bytes_list.value) for name in ("frames", "masks"))
        return frames, masks, list(self._values["areas"].float_list.value)

    def _decode(self, encoded: bytes, flags: int) -> np.ndarray:
        import cv2

        height, width = self.info.height, self.info.width
        stated = stated_size(encoded)
        # A few kilobytes may unpack to gigabytes: the header comes first. What is turned by its Exif has sides changed.
        fits = stated is not None and sorted(stated) == sorted((height, width))
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags) if fits else None
        if image is None or image.shape[:2] != (height, width):
            raise UserError(
                f"record {self.info.id!r} is damaged: a frame or mask of it is no {width}x{height}-pixel PNG or JPEG "
                "picture; write the records again"
            )
        return image


class RecordSource:
    """The clips of one split of a record data set, in the order of its files.

    Args:
        folder: that holds the files, such as `…/emoji_motion/1.0.0`, or one above with a single such folder in it. Of
            a bucket, files are copied to the user's cache when they are first read.
        split: such as "train".

    Raises:
        UserError: there is no such data set or split, or, when it is read, a file is damaged.
    """

    def __init__(self, folder: str | Path, split: str = "train"):
        self._files = record_files(folder, split)

    @classmethod
    def of_files(cls, files: Sequence[Any]) -> "RecordSource":
        """The clips of some of a data set's files."""
        source = cls.__new__(cls)
        source._files = list(files)
        return source

    def counts(self) -> list[tuple[Any, int]]:
        """Each file, and how many clips are in it."""
        return [(file, len(self.of_files([file]))) for file in self._files]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> RecordClip:
        with self._damage_told():
            record = self._records[index]
        return RecordClip(record)

    def __getstate__(self) -> dict[str, Any]:
        return {"_files": self._files}

    @cached_property
    def _records(self) -> Any:
        # Which is also what Grain reads them with; by itself it does not load JAX into worker processes.
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        with self._damage_told():
            return ArrayRecordDataSource([str(_here(file)) for file in self._files])

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise UserError(f"{self._files[0].parent}: a file of records is damaged: {error}; write it again") from None


def record_files(folder: str | Path, split: str) -> list[Any]:
    """The ArrayRecord files of a split, in order. Raises UserError where there are none."""
    within = dataset_folder(folder)
    names = {path.name: path for path in within.iterdir()}
    own = re.compile(rf".*-{re.escape(split)}\.array_record-\d+-of-\d+")
    files = [names[name] for name in sorted(names) if own.fullmatch(name)]
    if not files:
        there = sorted({name.split(".array_record")[0].rsplit("-", 1)[-1] for name in names if ".array_record" in name})
        raise UserError(f"{within} has no split {split!r}; it has {', '.join(there) or 'none'}")
    expected = int(files[0].name.rsplit("-", 1)[-1])
    if len(files) != expected:
        raise UserError(f"{within} has {len(files)} of the {expected} files of split {split!r}: bring the others too")
    return files


def dataset_folder(folder: str | Path) -> Any:
    """The folder with dataset_info.json: `folder` or the only one of those below it."""
    top = place(folder)
    if not top.is_dir():
        raise UserError(f"{top} is no folder: name a data set's folder, with dataset_info.json in it")
    found = (
        [top]
        if (top / "dataset_info.json").is_file()
        else sorted(path.parent for path in top.glob("*/dataset_info.json"))
        or sorted(path.parent for path in top.glob("*/*/dataset_info.json"))
    )
    if len(found) != 1:
        what = "several data sets: " + ", ".join(str(path) for path in found) if found else "no dataset_info.json"
        raise UserError(f"{top} holds {what}; name the folder of one data set")
    return found[0]


def _here(file: Any) -> Any:
    """A file of records on this machine: itself, or the copy in the user's cache of what is in a bucket."""
    if not is_remote(file):
        return file
    # Its size too, since a data set may be made again under its name.
    name = hashlib.sha256(f"{file} {file.stat().length}".encode()).hexdigest()[:32]
    copy = CACHE.expanduser() / name / file.name
    if not copy.is_file():
        with writing_whole(copy) as new:
            fetch(file, new)
    return copy


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
