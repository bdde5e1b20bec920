"""A clip with its subject, of which few frames are in memory at a time."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.media.readers import Reader
from magdiff_jax.media.video import pictures_in_order

Frame = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


class Footage(NamedTuple):
    """A video to edit, of which not all has to be in memory.

    Attributes:
        length: frames.
        read: called for a reading of all frames in order, each with its subject's mask; as `MagDiff.edit` takes them.
        extent: True where the subject is in any of the frames, [height, width].
    """

    length: int
    read: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
    extent: np.ndarray


class MaskedClip:
    """Frames of a source and the masks of their subject.

    Args:
        reader: of the source.
        frames: their numbers, ascending.
        masks: of each of them; read once.

    Attributes:
        size: height and width of the frames.
        extent: True where the subject is in any of them, [height, width].
        empty: which of them it is not in, counted from the first one here.
    """

    def __init__(self, reader: Reader, frames: Sequence[int], masks: Iterable[Mask]):
        self._reader, self._frames = reader, frames
        self.size = reader.size
        self.extent = np.zeros(self.size, bool)
        self.empty: list[int] = []
        # Packed, as those of a minute's video would take gigabytes.
        self._masks: list[bytes] = []
        for number, mask in enumerate(masks):
            self._masks.append(zlib.compress(np.packbits(mask).tobytes(), 1))
            self.extent |= mask
            if not mask.any():
                self.empty.append(number)

    def __len__(self) -> int:
        return len(self._frames)

    def pairs(self, numbers: Sequence[int]) -> Iterator[tuple[Frame, Mask]]:
        """Some of the frames, counted from the first one here, with their masks."""
        pictures = pictures_in_order(self._reader, [self._frames[number] for number in numbers])
        for number, picture in zip(numbers, pictures, strict=True):
            packed = np.frombuffer(zlib.decompress(self._masks[number]), np.uint8)
            yield picture.rgb, np.unpackbits(packed, count=self.extent.size).view(bool).reshape(self.size)


class OneByOne:
    """Frames asked for by number, one after the other, of which only the last is kept."""

    def __init__(self, reader: Reader, frames: Sequence[int]):
        self._length = len(frames)
        self._pictures = enumerate(pictures_in_order(reader, frames))
        self._number, self._picture = next(self._pictures)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Frame:
        while self._number < number:
            self._number, self._picture = next(self._pictures)
        assert self._number == number, "asked for backwards"
        return self._picture.rgb
