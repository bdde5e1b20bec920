"""A background's texture, read by laying every texture of EmojiMotion over what is seen of it."""

import math
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from magdiff_jax.data.clip import Frames, Masks
from magdiff_jax.data.emoji import backgrounds
from magdiff_jax.data.emoji.backgrounds import TEXTURES, Background
from magdiff_jax.evaluation.colours import Tint

# Textures are compared at this many pixels of the frame's shorter side, at which a cell has 6 to 8.
_SIDE = 32
# Of the frame's shorter side; `backgrounds.draw` takes 0.19 to 0.26.
_CELLS = (0.18, 0.195, 0.21, 0.225, 0.24, 0.255, 0.27)
_PHASES = 6  # to a cell
# A texture is there if it has this share of its contrast and of what is seen.
_LEAST_CONTRAST, _LEAST_CORRELATION = 0.25, 0.3


class _Bank(NamedTuple):
    """Every texture at every cell, angle and phase; those that differ in phase alone stand together.

    Attributes:
        amounts: of the shade, 0 to 1.
        squares: of them.
        starts: where each group begins.
        textures: of each group.
    """

    amounts: Float[np.ndarray, "pattern pixel"]
    squares: Float[np.ndarray, "pattern pixel"]
    starts: list[int]
    textures: list[str]


def read_texture(frames: Frames, masks: Masks, tint: Tint) -> str:
    """The texture, one of `TEXTURES`, that fits best what the subject's masks leave.

    Cell and angle are those of the clip, the phase is each frame's own, so that panning does not matter. The fit is the
    correlation, which blur and faded shades leave.
    """
    short = min(frames.shape[1:3])
    height, width = (round(side * _SIDE / short) for side in frames.shape[1:3])
    bank = _bank(height, width)
    seen, weights = _seen(frames, masks, tint, height, width)
    correlations, contrasts = _fits(bank, seen, weights)
    groups = np.maximum.reduceat(correlations, bank.starts, axis=0).mean(axis=1)
    best = int(groups.argmax())
    patterns = slice(*[*bank.starts, len(bank.amounts)][best : best + 2])
    phases = patterns.start + correlations[patterns].argmax(axis=0)
    contrast = contrasts[phases, np.arange(len(frames))].mean()
    there = groups[best] >= _LEAST_CORRELATION and contrast >= _LEAST_CONTRAST
    return bank.textures[best] if there else "plain"


def _seen(frames: Frames, masks: Masks, tint: Tint, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Amounts of the shade and how much they count, [pixel, frame] each: not at all at the subject and beside it."""
    import cv2

    amounts, weights = [], []
    for frame, mask in zip(frames.astype(np.float32), masks, strict=True):
        around = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        clear = 1 - cv2.resize(around.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        amount = cv2.resize(tint.amounts(frame), (width, height), interpolation=cv2.INTER_AREA)
        amounts.append(amount.ravel())
        weights.append((clear * (clear > 0.99)).ravel())
    return np.stack(amounts, axis=1), np.stack(weights, axis=1)


def _fits(
    bank: _Bank, seen: Float[np.ndarray, "pixel frame"], weights: Float[np.ndarray, "pixel frame"]
) -> tuple[Float[np.ndarray, "pattern frame"], Float[np.ndarray, "pattern frame"]]:
    """Correlation of each pattern with each frame, and the slope of the frame's amounts over the pattern's."""
    totals = np.maximum(weights.sum(axis=0), 1e-6)
    shares = weights / totals
    centred = seen - (shares * seen).sum(axis=0)
    covariance = bank.amounts @ (shares * centred)
    variance = np.maximum(bank.squares @ shares - (bank.amounts @ shares) ** 2, 1e-3)
    spread = np.maximum((shares * centred**2).sum(axis=0), 1e-6)
    return covariance / np.sqrt(variance * spread), covariance / variance


@cache
def _bank(height: int, width: int) -> _Bank:
    patterns: list[np.ndarray] = []
    starts, textures = [], []
    black = Tint("black", *np.array(backgrounds.COLOURS["black"], np.float32))
    for texture, cell in product(TEXTURES[1:], _CELLS):
        for angle in (0, 45, 90, 135) if texture == "striped" else (0,):
            starts.append(len(patterns))
            textures.append(texture)
            for phase in product(*_phases(texture, angle)):
                background = Background("black", texture, "", 0.0, cell, angle, phase)
                frame = backgrounds.render(background, [0.0], height, width)[0]
                patterns.append(black.amounts(frame.astype(np.float32)).ravel())
    amounts = np.stack(patterns)
    return _Bank(amounts, amounts**2, starts, textures)


def _phases(texture: str, angle: int) -> tuple[list[float], list[float]]:
    """Over one period across and one down, in cells."""
    across, down = _PERIODS.get(texture, (1.0, 1.0))
    if texture == "striped":
        across, down = (0.0, 1.0) if angle == 90 else (abs(1 / math.cos(math.radians(angle))), 0.0)
    return _steps(across), _steps(down)


def _steps(period: float) -> list[float]:
    return [step / _PHASES for step in range(max(1, round(_PHASES * period)))]


# In cells, where it is not one each way.
_PERIODS = {"checkered": (2.0, 1.0), "wavy": (2.0, 1.0)}
