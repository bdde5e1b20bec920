"""Clips from files: videos, animated or still pictures, and folders of pictures, with masks from such files too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from magdiff_jax.data.clip import ClipInfo, Frames, Masks, subject_areas
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture
from magdiff_jax.media.masks import MaskReader
from magdiff_jax.media.pairing import pair
from magdiff_jax.media.readers import DEFAULT_FPS, Reader, open_reader
from magdiff_jax.places import Place
from magdiff_jax.text import TextFile


def open_clip(
    path: Place,
    *,
    id: str,
    source: str,
    caption: str = "",
    caption_file: TextFile | None = None,
    augmented_caption: str | None = None,
    label: str = "",
    category: str = "other",
    provenance: Mapping[str, Any] | None = None,
    masks: Place | None = None,
    fps: float = DEFAULT_FPS,
) -> "FileClip":
    """A clip in a file. Nothing is opened yet; what is wrong with the file shows when the clip is touched.

    Args:
        path: a video, an animated picture (GIF, WebP, PNG), a still picture, which is a clip of one frame, or a folder
            of pictures of one size, taken in natural order (`2.png` before `10.png`).
        id: see `ClipInfo`, as are all others that are not described here.
        source: see there.
        caption: see there.
        caption_file: text file with the caption instead, which is read when the clip is touched.
        augmented_caption: None for the caption.
        label: see there.
        category: see there.
        provenance: see there; None for nothing.
        masks: a source of the same kinds, with a picture for each frame or a still one for all; None where there are
            none. `media.masks` says what in them is the subject, `media.pairing.pair` which belongs to which frame.
        fps: of folders and still pictures, which have no rate of their own.
    """
    known = {
        "id": id,
        "source": source,
        "caption": caption,
        "augmented_caption": caption if augmented_caption is None else augmented_caption,
        "label": label,
        "category": category,
        "provenance": dict(provenance or {}),
    }
    return FileClip(path, known, masks, fps, caption_file)


@dataclass(frozen=True)
class FileClip:
    """A clip in a file; see `open_clip` and `clip.Clip`.

    Videos are presented at their average rate: frame i is the one on screen around the time i / fps, so that frames of
    a variable rate come in even time steps, and those of a constant rate are all there, in order.

    A video is looked through once, on first use, reading its packets and decoding one frame; frames are then decoded
    from the keyframe before them on, on one thread. A clip can be pickled and keeps no file open.

    Attributes:
        path: of the video.
        known: the fields of `ClipInfo` that do not come from the file.
        mask_path: of the masks, or None.
        still_fps: frames per second where the file has no rate.
        caption_file: of the caption, or None.
    """

    path: Place
    known: Mapping[str, Any]
    mask_path: Place | None
    still_fps: float
    caption_file: TextFile | None = None

    @property
    def id(self) -> str:
        """See `clip.Clip`."""
        return self.known["id"]

    @cached_property
    def info(self) -> ClipInfo:
        """What is known without decoding.

        Raises:
            UserError: the file is missing, empty, damaged, cut short to nothing, without pictures, or over
                `media.images.MAX_PIXELS` a frame.
        """
        known = dict(self.known)
        if self.caption_file is not None:
            known["caption"] = known["augmented_caption"] = self.caption_file.read().strip()
        (height, width), (fps, shown) = self._video.size, self._steps
        return ClipInfo(length=len(shown), height=height, width=width, fps=fps, **known)

    def frames(self, indices: Sequence[int]) -> Frames:
        """See `clip.Clip`.

        Raises:
            UserError: as `info` does, or one of the frames is damaged or of another size than the first.
            IndexError: there is no such frame.
        """
        frames = np.empty((len(indices), self.info.height, self.info.width, 3), np.uint8)
        self._decode(self._video, self._shown(indices), lambda picture: picture.rgb, frames)
        return frames

    def masks(self, indices: Sequence[int]) -> Masks | None:
        """See `clip.Clip`.

        Raises:
            UserError: as `frames` does, or the masks are of another size than the frames, or fewer.
            IndexError: there is no such frame.
        """
        if self._masks is None:
            return None
        masks = np.empty((len(indices), self.info.height, self.info.width), bool)
        self._decode(self._masks.reader, self._which_masks(indices), self._masks.mask, masks)
        return masks

    def areas(self) -> np.ndarray | None:
        """See `clip.Clip`; decodes all masks. Raises UserError as `masks` does."""
        if self._masks is None:
            return None
        areas = np.empty(self.info.length, np.float32)
        mask, which = self._masks.mask, self._which_masks(range(len(areas)))
        self._decode(self._masks.reader, which, lambda picture: subject_areas(mask(picture)[None])[0], areas)
        return areas

    @cached_property
    def _video(self) -> Reader:
        return open_reader(self.path, self.still_fps)

    @cached_property
    def _steps(self) -> tuple[float, np.ndarray]:
        return self._video.timeline.even_steps()

    @cached_property
    def _masks(self) -> MaskReader | None:
        if self.mask_path is None:
            return None
        size = self.info.height, self.info.width
        return MaskReader(open_reader(self.mask_path, self.still_fps), size, self._video.stored_size)

    @cached_property
    def _pairs(self) -> np.ndarray:
        """The mask of each step."""
        assert self._masks is not None
        return np.array(pair(self._video, self._masks.reader, self._steps[1].tolist()))

    def _which_masks(self, indices: Sequence[int]) -> np.ndarray:
        return self._pairs[self._checked(indices)]

    def _shown(self, indices: Sequence[int]) -> np.ndarray:
        return self._steps[1][self._checked(indices)]

    def _checked(self, indices: Sequence[int]) -> np.ndarray:
        numbers = np.array(indices, int)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.info.length:
            raise IndexError(f"{self.path} has frames 0 to {self.info.length - 1}, not all of {list(indices)}")
        return numbers

    def _decode(self, reader: Reader, numbers: np.ndarray, convert: Callable[[Picture], Any], out: np.ndarray) -> None:
        """Writes to each place in `out` what `convert` makes of the picture with the number there."""
        for number, picture in reader.read(set(numbers.tolist())):
            (height, width), shape = reader.size, picture.rgb.shape
            if shape[:2] != (height, width):
                raise UserError(
                    f"{reader.path}: frame {number} is {shape[1]}x{shape[0]} but the first is {width}x{height}: "
                    "all must have one size"
                )
            out[numbers == number] = convert(picture)
