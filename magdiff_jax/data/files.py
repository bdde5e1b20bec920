"""Clips from files: videos, animated or still pictures, and folders of pictures, with masks from such files too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from magdiff_jax.data.clip import ClipInfo, Frames, Masks, subject_areas
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture
from magdiff_jax.media.masks import to_mask
from magdiff_jax.media.readers import AnimationReader, Reader, open_reader
from magdiff_jax.media.video import DEFAULT_FPS


def open_clip(
    path: Path,
    *,
    id: str,
    source: str,
    caption: str = "",
    augmented_caption: str | None = None,
    label: str = "",
    category: str = "other",
    provenance: Mapping[str, Any] | None = None,
    masks: Path | None = None,
    fps: float = DEFAULT_FPS,
) -> "FileClip":
    """A clip in a file. Nothing is opened yet; what is wrong with the file shows when the clip is touched.

    Args:
        path: a video, an animated picture (GIF, WebP, PNG), a still picture, which is a clip of one frame, or a folder
            of pictures of one size, taken in natural order (`2.png` before `10.png`).
        id: see `ClipInfo`, as are all others that are not described here.
        source: see there.
        caption: see there.
        augmented_caption: None for the caption.
        label: see there.
        category: see there.
        provenance: see there; None for nothing.
        masks: a source of the same kinds, with a picture for each frame or a still one for all; None where there are
            none. `media.masks.read_masks` says what in a picture is the subject.
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
    return FileClip(Path(path), known, masks, fps)


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
    """

    path: Path
    known: Mapping[str, Any]
    mask_path: Path | None
    still_fps: float

    @cached_property
    def info(self) -> ClipInfo:
        """What is known without decoding.

        Raises:
            UserError: the file is missing, empty, damaged, cut short to nothing, without pictures, or over
                `media.images.MAX_PIXELS` a frame.
        """
        height, width = self._video.size
        return ClipInfo(length=self._video.length, height=height, width=width, fps=self._video.fps, **self.known)

    def frames(self, indices: Sequence[int]) -> Frames:
        """See `clip.Clip`.

        Raises:
            UserError: as `info` does, or one of the frames is damaged or of another size than the first.
            IndexError: there is no such frame.
        """
        frames = np.empty((len(indices), self.info.height, self.info.width, 3), np.uint8)
        self._decode(self._video, self._checked(indices), lambda picture: picture.rgb, frames)
        return frames

    def masks(self, indices: Sequence[int]) -> Masks | None:
        """See `clip.Clip`.

        Raises:
            UserError: as `frames` does, or the masks are of another size than the frames, or fewer.
            IndexError: there is no such frame.
        """
        if self._mask_reader is None:
            return None
        masks = np.empty((len(indices), self.info.height, self.info.width), bool)
        self._decode(self._mask_reader, self._which_masks(indices), to_mask, masks)
        return masks

    def areas(self) -> np.ndarray | None:
        """See `clip.Clip`; decodes all masks. Raises UserError as `masks` does."""
        if self._mask_reader is None:
            return None
        areas = np.empty(self.info.length, np.float32)
        self._decode(self._mask_reader, self._which_masks(range(len(areas))), _area, areas)
        return areas

    @cached_property
    def _video(self) -> Reader:
        return open_reader(self.path, self.still_fps)

    @cached_property
    def _mask_reader(self) -> Reader | None:
        if self.mask_path is None:
            return None
        reader, info = open_reader(self.mask_path, self.still_fps), self.info
        if reader.size != (info.height, info.width):
            height, width = reader.size
            raise UserError(
                f"{self.mask_path} is {width}x{height} but the frames it masks are {info.width}x{info.height}: "
                "make both the same size"
            )
        if not _is_still(reader) and reader.length < info.length:
            raise UserError(
                f"{self.mask_path} has {reader.length} masks for the {info.length} frames of {self.path}: "
                "give one for each, or one picture for all"
            )
        return reader

    def _which_masks(self, indices: Sequence[int]) -> np.ndarray:
        frames = self._checked(indices)
        return np.zeros_like(frames) if _is_still(self._mask_reader) else frames

    def _checked(self, indices: Sequence[int]) -> np.ndarray:
        numbers = np.array(indices, int)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.info.length:
            raise IndexError(f"{self.path} has frames 0 to {self.info.length - 1}, not all of {list(indices)}")
        return numbers

    def _decode(self, reader: Reader, numbers: np.ndarray, convert: Callable[[Picture], Any], out: np.ndarray) -> None:
        """Writes to each place in `out` what `convert` makes of the picture with the number there."""
        height, width = self.info.height, self.info.width
        for number, picture in reader.read(set(numbers.tolist())):
            if picture.rgb.shape[:2] != (height, width):
                is_height, is_width = picture.rgb.shape[:2]
                raise UserError(
                    f"{reader.path}: frame {number} is {is_width}x{is_height} but the first is {width}x{height}: "
                    "all must have one size"
                )
            out[numbers == number] = convert(picture)


def _is_still(reader: Reader | None) -> bool:
    """Whether this is a picture; a folder or a video may hold just one, too, but then the others are missing."""
    return isinstance(reader, AnimationReader) and reader.length == 1


def _area(mask: Picture) -> float:
    return float(subject_areas(to_mask(mask)[None])[0])
