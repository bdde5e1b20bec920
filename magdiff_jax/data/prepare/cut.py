"""Cut a video into clips that fit into memory: length, rate and size."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from magdiff_jax.config import Config
from magdiff_jax.data.clip import Clip, ClipInfo, DecodedClip, Frames, Masks
from magdiff_jax.data.prepare.stages import Rejected
from magdiff_jax.errors import UserError

# Frames are read in groups of about this many pixels (three bytes each) and scaled down at once.
_READ_PIXELS = 32_000_000
# Of a frame's duration, against rates that are not exact: frame 3 at 29.97 is not frame 2.
_TOLERANCE = 1e-6
# Width and height at which frames are compared: coarse, so that motion counts little.
_SHOT_SIZE = (64, 36)


@dataclass(frozen=True)
class CutConfig(Config):
    """What clips are cut from a video.

    Attributes:
        seconds: longest duration of a clip.
        fps: frames per second; a slower video keeps its own rate.
        short_side: of the frames, in pixels; larger ones are scaled down to it, smaller ones stay.
        all_parts: whether what follows the first clip of a long video makes clips too.
        least_frames: of a clip; 1 also takes still pictures.
        most_pixels: of all frames of a clip together, which bounds memory at four bytes a pixel.
        shot: a clip ends before the first frame that differs from the one before it by more than this, since no tracker
            follows a subject through a cut: the mean over all pixels and over hue (0 to 180), saturation and value (0
            to 255). 255 or more never ends it. Not in the paper, whose videos are single shots.
    """

    seconds: int | float = 10.0
    fps: int | float = 8.0
    short_side: int = 512
    all_parts: bool = False
    least_frames: int = 8
    most_pixels: int = 100_000_000
    shot: int | float = 32.0

    def __post_init__(self) -> None:
        self._require_number("seconds", 0.01, 3600)
        self._require_number("fps", 0.1, 1000)
        self._require_number("shot", 0)
        self._require_positive("short_side", "least_frames", "most_pixels")
        self._require("all_parts", isinstance(self.all_parts, bool), "true or false")
        most = _frames_in(self.seconds, self.fps)
        self._require("least_frames", self.least_frames <= most, f"at most the {most} frames of seconds x fps")


class Part(NamedTuple):
    """A clip that is to be cut from a video.

    Attributes:
        id: the video's id, or `<id>/0001`, `<id>/0002`, … where several clips are cut from it.
        start: in frames at the rate of the clip, from the start of the video.
        length: in frames at the rate of the clip.
    """

    id: str
    start: int
    length: int


def parts(info: ClipInfo, config: CutConfig) -> list[Part]:
    """What is cut from a video: at least one part, which may turn out too short. Nothing is decoded."""
    fps, step = _rate(info, config)
    total = math.ceil(info.length / step - _TOLERANCE)
    length = _frames_in(config.seconds, fps)
    if total <= length or not config.all_parts:
        return [Part(info.id, 0, min(length, total))]
    starts = enumerate(range(0, total, length), 1)
    return [Part(f"{info.id}/{number:04d}", start, min(length, total - start)) for number, start in starts]


def cut(clip: Clip, part: Part, config: CutConfig) -> DecodedClip:
    """A part of a video at the rate and size of `config`, with its masks.

    A frame of the result is the one that the video shows at that time. The provenance says under "cut" where in the
    video the part starts, in seconds, and what the video's rate and size (height, width) are.

    Raises:
        Rejected: "too_short": the part has fewer than `least_frames` frames; "too_large": it has more than
            `most_pixels` pixels; "unreadable": a frame or mask of it cannot be decoded.
    """
    info = clip.info
    fps, step = _rate(info, config)
    height, width = _size(info.height, info.width, config.short_side)
    if part.length < config.least_frames:
        raise Rejected("too_short", f"{part.length} frames at {fps:g} fps, under {config.least_frames}")
    if part.length * height * width > config.most_pixels:
        raise Rejected("too_large", f"{part.length} frames of {width}x{height} are over {config.most_pixels} pixels")
    indices = [int(time * step + _TOLERANCE) for time in range(part.start, part.start + part.length)]
    try:
        frames, masks = _read(clip, indices, height, width)
    except UserError as error:
        raise Rejected("unreadable", str(error)) from error
    length = _first_shot(frames, config.shot)
    if length < config.least_frames:
        raise Rejected("too_short", f"its shot ends after {length} frames, under {config.least_frames}")
    origin = {"start": part.start / fps, "fps": info.fps, "size": [info.height, info.width]}
    is_now = dataclasses.replace(
        info,
        id=part.id,
        length=length,
        height=height,
        width=width,
        fps=fps,
        provenance={**info.provenance, "cut": origin},
    )
    return DecodedClip(is_now, frames[:length], None if masks is None else masks[:length])


def _first_shot(frames: Frames, threshold: int | float) -> int:
    """How many frames there are before the picture changes all at once."""
    import cv2

    small = [cv2.resize(frame, _SHOT_SIZE, interpolation=cv2.INTER_AREA) for frame in frames]
    colours = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in small]).astype(np.int16)
    changes = np.abs(np.diff(colours, axis=0))
    changes[..., 0] = np.minimum(changes[..., 0], 180 - changes[..., 0])  # hue goes round
    (cuts,) = np.nonzero(changes.mean(axis=(1, 2, 3)) > threshold)
    return int(cuts[0]) + 1 if len(cuts) else len(frames)


def _rate(info: ClipInfo, config: CutConfig) -> tuple[float, float]:
    """The clips' frames per second, and the video's frames for each of theirs."""
    fps = float(min(config.fps, info.fps))
    return fps, info.fps / fps


def _frames_in(seconds: int | float, fps: int | float) -> int:
    return max(1, int(seconds * fps + _TOLERANCE))


def _size(height: int, width: int, short_side: int) -> tuple[int, int]:
    scale = min(1.0, short_side / min(height, width))
    return round(height * scale), round(width * scale)


def _read(clip: Clip, indices: Sequence[int], height: int, width: int) -> tuple[Frames, Masks | None]:
    """The frames and masks of these indices at a size; at no time are many of them held as they are in the video."""
    import cv2

    frames = np.empty((len(indices), height, width, 3), np.uint8)
    masks = np.empty((len(indices), height, width), bool)
    masked = True
    count = max(1, _READ_PIXELS // (clip.info.height * clip.info.width))
    for start in range(0, len(indices), count):
        group = indices[start : start + count]
        for index, frame in enumerate(clip.frames(group), start):
            frames[index] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        found = clip.masks(group) if masked else None
        masked = found is not None
        for index, mask in enumerate(() if found is None else found, start):
            # The exact kind takes pixel centres, as area averaging does, so that masks stay on their subjects.
            masks[index] = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return frames, masks if masked else None
