"""One video with its subject, and the sequences of such videos that everything here reads from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from typing_extensions import Protocol, runtime_checkable  # Python 3.11's own one reads properties when it checks

# The paper's four kinds of subject (supplement, section C).
CATEGORIES = ("person", "animal", "object", "other")

Frames = UInt8[np.ndarray, "_frame _height _width 3"]
Masks = Bool[np.ndarray, "_frame _height _width"]


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip without decoding it.

    Attributes:
        id: unique within its data set, the same in every run.
        source: the data set it comes from.
        length: frames.
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        fps: frames per second.
        caption: as the data set has it; may be empty.
        augmented_caption: the caption with the label appended (supplement, section C), or equal to it.
        label: the subject in a word or a few; may be empty.
        category: one of `CATEGORIES`.
        provenance: where caption, label and masks come from: models, scores and, for generated clips, every parameter.
            Values are what JSON has.
    """

    id: str
    source: str
    length: int
    height: int
    width: int
    fps: float
    caption: str = ""
    augmented_caption: str = ""
    label: str = ""
    category: str = "other"
    provenance: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Clip(Protocol):
    """A video with its subject. Frames are decoded when asked for, and no others."""

    @property
    def id(self) -> str:
        """That of its `info`, known without opening it."""
        ...

    @property
    def info(self) -> ClipInfo:
        """What is known without decoding."""
        ...

    def frames(self, indices: Sequence[int]) -> Frames:
        """The frames of these indices, in this order; an index may come twice.

        Raises:
            UserError: they cannot be decoded.
        """
        ...

    def masks(self, indices: Sequence[int]) -> Masks | None:
        """The subject's masks in these frames; None where the subject is the whole frame (a null mask), or unknown."""
        ...

    def areas(self) -> np.ndarray | None:
        """The subject's share of each frame, 0 to 1, float32 [length]; None where `masks` is.

        Cheap for records, which hold it; other clips may have to decode all their masks.
        """
        ...


@runtime_checkable
class Source(Protocol):
    """A random-access sequence of clips. It can be pickled, so that worker processes read it too."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip:
        """Clip `index`, 0 to len - 1. The same index always gives the same clip."""
        ...


@dataclass(frozen=True)
class DecodedClip:
    """A clip whose frames and masks are in memory."""

    info: ClipInfo
    all_frames: Frames
    all_masks: Masks | None

    @property
    def id(self) -> str:
        return self.info.id

    def frames(self, indices: Sequence[int]) -> Frames:
        return self.all_frames[list(indices)]

    def masks(self, indices: Sequence[int]) -> Masks | None:
        return None if self.all_masks is None else self.all_masks[list(indices)]

    def areas(self) -> np.ndarray | None:
        return None if self.all_masks is None else subject_areas(self.all_masks)


def subject_areas(masks: Masks) -> np.ndarray:
    """The share of each frame that its mask covers, 0 to 1, float32 [frame]."""
    return masks.mean(axis=(1, 2), dtype=np.float32)


def mean_area(areas: np.ndarray) -> float:
    """The mean share over all frames, to seven digits.

    Shares are float32, in which 0.6 is a little over 0.6; one pixel of a 4K frame still counts.
    """
    return round(float(areas.mean(dtype=np.float64)), 7)
