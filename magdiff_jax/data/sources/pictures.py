"""Clips in folders of numbered pictures, with a label picture for each: DAVIS and the released layout."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from magdiff_jax.data.clip import ClipInfo, Frames, Masks, subject_areas
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import picture_size, read_image
from magdiff_jax.places import Place

_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class PictureClip:
    """A clip of numbered pictures such as `00012.jpg` or `frame_12.jpg`, in the order of their numbers.

    Attributes:
        pictures: their folder.
        labels: the folder of label pictures, which `read_labels` describes; each has the number of its frame. None
            where there are none.
        fps: frames per second.
        known: further fields of the clip's `ClipInfo`.
        selected: the frames of the clip by their positions among the pictures, from 0; None for all.
        object_id: the object that is the subject; None for all objects together.
    """

    pictures: Place
    labels: Place | None
    fps: float
    known: dict[str, Any]
    selected: tuple[int, ...] | None = None
    object_id: int | None = None

    @property
    def id(self) -> str:
        """See `clip.Clip`."""
        return self.known["id"]

    @cached_property
    def info(self) -> ClipInfo:
        """What is known without decoding.

        Raises:
            UserError: there are no such pictures, or fewer than are selected.
        """
        height, width = picture_size(self._files[0])
        return ClipInfo(length=len(self._files), height=height, width=width, fps=self.fps, **self.known)

    def frames(self, indices: Sequence[int]) -> Frames:
        """See `clip.Clip`."""
        return np.stack([self._checked(self._files[index], read_image(self._files[index]).rgb) for index in indices])

    def masks(self, indices: Sequence[int]) -> Masks | None:
        """See `clip.Clip`. Raises UserError where a frame has no label picture."""
        if self.labels is None:
            return None
        return np.stack([self._mask(self._files[index]) for index in indices])

    def areas(self) -> np.ndarray | None:
        """See `clip.Clip`."""
        masks = [self.masks([index]) for index in range(self.info.length)]
        return None if masks[0] is None else np.concatenate([subject_areas(mask) for mask in masks if mask is not None])

    @cached_property
    def _files(self) -> list[Path]:
        files = [path for _, path in sorted(_numbered(self.pictures).items())]
        if not files:
            raise UserError(f"{self.pictures} holds no numbered pictures, such as 00000.jpg or frame_1.jpg")
        if self.selected is None:
            return files
        if not self.selected or not 0 <= min(self.selected) <= max(self.selected) < len(files):
            raise UserError(f"{self.pictures} has {len(files)} pictures: frames {_short(self.selected)} are not there")
        return [files[position] for position in self.selected]

    @cached_property
    def _label_files(self) -> dict[int, Path]:
        return {} if self.labels is None else _numbered(self.labels)

    def _mask(self, picture: Path) -> np.ndarray:
        number = _number(picture)
        if number not in self._label_files:
            raise UserError(f"{self.labels} has no mask for {picture.name} of {self.pictures}: give one for each frame")
        path = self._label_files[number]
        labels = self._checked(path, read_labels(path))
        return labels > 0 if self.object_id is None else labels == self.object_id

    def _checked(self, path: Path, image: np.ndarray) -> np.ndarray:
        if image.shape[:2] != (self.info.height, self.info.width):
            size = f"{self.info.width}x{self.info.height}"
            raise UserError(f"{path} is {image.shape[1]}x{image.shape[0]} but frame 0 of its clip is {size}")
        return image


def read_labels(path: Path) -> UInt8[np.ndarray, "height width"]:
    """The objects' numbers in a label picture; 0 is the background.

    A picture with a palette holds the numbers themselves (255 is void, which counts as background); so does a gray
    one, where 255 is object 1 of a black and white mask. In a picture of colours all but black is object 1.

    Raises:
        UserError: it is no such picture.
    """
    picture_size(path)  # refuses what is too large to decode
    try:
        with Image.open(path, formats=("PNG",)) as image:
            palette = image.mode == "P"
            values = np.asarray(image if image.mode in ("1", "L", "P") else image.convert("RGB")).astype(np.uint8)
    # Pillow's decoders answer damaged files with a dozen kinds of exception.
    except Exception as error:
        raise UserError(f"{path} cannot be read as a PNG picture: {error}") from None
    if values.ndim == 3:
        return np.asarray(values.any(axis=-1), np.uint8)
    return np.where(values == 255, np.uint8(0 if palette else 1), values)


def _numbered(folder: Path) -> dict[int, Path]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; a folder of pictures should be there") from error
    return {number: path for path in files if (number := _number(path)) is not None}


def _number(path: Path) -> int | None:
    digits = re.search(r"\d+$", path.stem)
    return int(digits.group()) if digits else None


def _short(numbers: Sequence[int]) -> str:
    shown = [str(number) for number in numbers]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:2], "…", shown[-1]])
