"""Backgrounds: twelve colours in six textures, at rest or panning."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

_Rgb = tuple[int, int, int]

# Name → the colour and the shade of it that draws the texture. The shades are strong enough to be seen at 64 pixels
# and weak enough that no colour's shade is nearer to another colour.
COLOURS: dict[str, tuple[_Rgb, _Rgb]] = {
    "red": ((214, 40, 46), (168, 22, 32)),
    "orange": ((248, 136, 36), (216, 104, 8)),
    "yellow": ((252, 220, 66), (230, 190, 20)),
    "green": ((72, 168, 78), (44, 130, 54)),
    "turquoise": ((78, 208, 204), (40, 172, 174)),
    "blue": ((52, 98, 210), (28, 66, 166)),
    "purple": ((136, 68, 178), (104, 42, 142)),
    "pink": ((252, 168, 202), (236, 128, 174)),
    "brown": ((134, 88, 54), (102, 62, 34)),
    "gray": ((148, 151, 155), (120, 123, 128)),
    "white": ((252, 252, 252), (218, 222, 228)),
    "black": ((24, 24, 28), (62, 62, 70)),
}
TEXTURES = ("plain", "striped", "checkered", "dotted", "tiled", "wavy")
# Panning along a stripe would not be seen.
_STRIPE_PANNINGS = {0: ("left", "right"), 45: (), 90: ("up", "down"), 135: ()}
_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


class Background(NamedTuple):
    """The parameters of a background; lengths are fractions of the frame's shorter side.

    Attributes:
        colour: a key of `COLOURS`.
        texture: one of `TEXTURES`.
        panning: the direction in which the texture moves: "left", "right", "up", "down", or "" for none.
        distance: by how much it moves from the first frame to the last; 0 without panning.
        cell: the texture's period.
        angle: of the stripes, degrees: 0 are vertical, 90 horizontal. 0 for other textures.
        phase: where the texture begins, x and y, in cells.
    """

    colour: str
    texture: str
    panning: str
    distance: float
    cell: float
    angle: int
    phase: tuple[float, float]


def draw(colours: Sequence[str], random: Callable[[], float]) -> Background:
    """A background in one of these colours; `random` gives numbers from 0 to 1."""
    colour, texture = _pick(colours, random), _pick(TEXTURES, random)
    angle = _pick(tuple(_STRIPE_PANNINGS), random)
    panning = _pick((_STRIPE_PANNINGS[angle] if texture == "striped" else ()) or tuple(_STEPS), random)
    pans = random() < 0.5 and texture != "plain"
    distance, cell = round(0.25 + 0.15 * random(), 4), round(0.19 + 0.07 * random(), 4)
    phase = round(random(), 4), round(random(), 4)
    return Background(
        colour=colour,
        texture=texture,
        panning=panning if pans else "",
        distance=distance if pans else 0.0,
        cell=cell,
        angle=angle if texture == "striped" else 0,
        phase=phase,
    )


def render(
    background: Background, times: Sequence[float], height: int, width: int
) -> UInt8[np.ndarray, "_frame {height} {width} 3"]:
    """The background at these times, 0 for the first frame of a clip and 1 for its last."""
    short = min(height, width)
    step_x, step_y = _STEPS.get(background.panning, (0, 0))
    # Whole pixels, so that the texture is drawn once and cut out at each time.
    shifts = [round(background.distance * short * time) for time in times]
    most = round(background.distance * short)
    canvas = _canvas(background, short, height + most * abs(step_y), width + most * abs(step_x))
    frames = np.empty((len(shifts), height, width, 3), np.uint8)
    for frame, shift in zip(frames, shifts, strict=True):
        # What moves right comes into sight from the left of the canvas.
        left = (most - shift if step_x > 0 else shift) * abs(step_x)
        top = (most - shift if step_y > 0 else shift) * abs(step_y)
        frame[:] = canvas[top : top + height, left : left + width]
    return frames


def _canvas(background: Background, short: int, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    import cv2

    colour, shade = (np.array(rgb, np.float32) for rgb in COLOURS[background.colour])
    if background.texture == "plain":
        return np.full((height, width, 3), COLOURS[background.colour][0], np.uint8)
    cell = background.cell * short
    x = (np.arange(width, dtype=np.float32) + 0.5) / cell + background.phase[0]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / cell + background.phase[1])[:, None]
    amount = _TEXTURES[background.texture](x, y, np.float32(cell), background.angle)
    levels = np.round(colour + np.linspace(0, 1, 256, dtype=np.float32)[:, None] * (shade - colour)).astype(np.uint8)
    return cv2.applyColorMap((amount * 255 + 0.5).astype(np.uint8), levels[:, None])


def _stripes(position: np.ndarray, cell: np.float32, share: float) -> np.ndarray:
    """Bands across `position` (in cells) that cover this share of it: 0 to 1, with edges one pixel wide."""
    distance = np.abs(position - np.floor(position) - np.float32(0.5)) - np.float32(share / 2)
    return np.clip(np.float32(0.5) - distance * cell, 0, 1)


def _striped(x: np.ndarray, y: np.ndarray, cell: np.float32, angle: int) -> np.ndarray:
    radians = math.radians(angle)
    across = np.float32(math.cos(radians)) * x + np.float32(math.sin(radians)) * y
    return _stripes(across, cell, 0.5)


def _checkered(x: np.ndarray, y: np.ndarray, cell: np.float32, _angle: int) -> np.ndarray:
    columns, rows = _stripes(x / 2, 2 * cell, 0.5), _stripes(y / 2, 2 * cell, 0.5)
    return columns + rows - 2 * columns * rows


def _dotted(x: np.ndarray, y: np.ndarray, cell: np.float32, _angle: int) -> np.ndarray:
    radius = np.float32(0.3)
    distance = np.hypot(x - np.floor(x) - np.float32(0.5), y - np.floor(y) - np.float32(0.5)) - radius
    return np.clip(np.float32(0.5) - distance * cell, 0, 1)


def _tiled(x: np.ndarray, y: np.ndarray, cell: np.float32, _angle: int) -> np.ndarray:
    return np.maximum(_stripes(x, cell, 0.16), _stripes(y, cell, 0.16))


def _wavy(x: np.ndarray, y: np.ndarray, cell: np.float32, _angle: int) -> np.ndarray:
    return _stripes(y + np.float32(0.35) * np.sin(np.float32(math.pi) * x), cell, 0.5)


def _pick(choices: Sequence, random: Callable[[], float]) -> Any:
    return choices[int(random() * len(choices))]


_TEXTURES = {"striped": _striped, "checkered": _checkered, "dotted": _dotted, "tiled": _tiled, "wavy": _wavy}
