"""Motions: where a drawing is in each frame, how large and how turned."""

import math
from collections.abc import Callable
from typing import NamedTuple

from magdiff_jax.data.emoji.drawings import Outline

MOTIONS = ("left", "right", "up", "down", "grow", "shrink", "spin", "bounce", "still")

# In fractions of the frame. The subject moves by at least `TRAVEL`, and stays `_MARGIN` away from the border.
TRAVEL, _MARGIN = 0.3, 0.02
# The paper keeps subjects of 5 % to 60 % of the frame (supplement, section C); these leave room for antialiasing.
_LEAST_AREA, _MOST_AREA = 0.055, 0.58
# Of the frame's shorter side: below, a drawing cannot be told at 64 pixels.
_LEAST_SCALE = 0.32
LEAST_GROWTH, _MOST_GROWTH = 1.6, 2.2
_LEAST_TURN, _MOST_TURN = 150.0, 330.0
_HOPS = 2


class Path(NamedTuple):
    """A drawing's course; every list has one value per frame.

    Attributes:
        motion: one of `MOTIONS`.
        x: of the centre of the drawing's box, as a fraction of the frame's width.
        y: the same of the height, from the top.
        scale: the longer side of the drawing's box, as a fraction of the frame's shorter side.
        angle: degrees, clockwise.
    """

    motion: str
    x: list[float]
    y: list[float]
    scale: list[float]
    angle: list[float]


def draw(motion: str, outline: Outline, frames: int, width: float, height: float, random: Callable[[], float]) -> Path:
    """A course on which the whole drawing is always within the frame.

    The drawing covers 5 % to 60 % of the frame; where its shape makes that impossible (a needle that is to move along
    itself), it is as large as it can be.

    Args:
        motion: one of `MOTIONS`.
        outline: of the drawing.
        frames: of the clip, at least 2.
        width: of the frame, in units of its shorter side.
        height: the same.
        random: gives numbers from 0 to 1.
    """
    moves_x, moves_y = motion in ("left", "right"), motion in ("up", "down", "bounce")
    box_width, box_height = (2 * outline.radius,) * 2 if motion == "spin" else (outline.width, outline.height)
    free_x = 1 - 2 * _MARGIN - (TRAVEL if moves_x else 0.0)
    free_y = 1 - 2 * _MARGIN - (TRAVEL if moves_y else 0.0)
    area = outline.area / (width * height)  # at scale 1
    most = min(free_x * width / box_width, free_y * height / box_height, math.sqrt(_MOST_AREA / area))
    least = min(most, max(_LEAST_SCALE, math.sqrt(_LEAST_AREA / area)))

    growth = 1.0
    if motion in ("grow", "shrink"):
        growth = _between(LEAST_GROWTH, max(LEAST_GROWTH, min(_MOST_GROWTH, most / least)), random)
    scale = _between(min(most, least * growth), most, random)
    x, x_room = _place(scale * box_width / width, TRAVEL if moves_x else 0.0, random)
    y, y_room = _place(scale * box_height / height, TRAVEL if moves_y else 0.0, random)
    turn = math.copysign(_between(_LEAST_TURN, _MOST_TURN, random), random() - 0.5)

    times = [frame / (frames - 1) for frame in range(frames)]
    backwards = motion in ("left", "up", "grow")
    progress = [1 - time if backwards else time for time in times]
    xs = [x + x_room * p for p in progress]
    ys = [y + y_room * (bounce(time) if motion == "bounce" else p) for time, p in zip(times, progress, strict=True)]
    scales = [scale / growth**p for p in progress]
    angles = [turn * time if motion == "spin" else 0.0 for time in times]
    return Path(motion, *([round(value, 5) for value in values] for values in (xs, ys, scales, angles)))


def _place(extent: float, travel: float, random: Callable[[], float]) -> tuple[float, float]:
    """Where the centre of something of this extent starts, at its lowest coordinate, and how far it goes from there."""
    room = 1 - 2 * _MARGIN - extent
    way = _between(travel, room, random) if travel else 0.0
    return _MARGIN + extent / 2 + (room - way) * random(), way


def bounce(time: float) -> float:
    """A ball's fall and rise, 1 on the floor, where it starts, and 0 on top."""
    hop = _HOPS * time % 1
    return 1 - 4 * hop * (1 - hop)


def _between(least: float, most: float, random: Callable[[], float]) -> float:
    return least + (most - least) * random()
