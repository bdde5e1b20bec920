"""Clips to look at: cases below each other, and of each case its caption and labelled lines of frames."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from magdiff_jax.data.clip import Frames

_SIDE, _GAP, _LABEL, _CAPTION = 96, 8, 130, 22


class Shown(NamedTuple):
    """A case to look at: its caption, and frames by what they are, such as "given" and "made"."""

    caption: str
    lines: Sequence[tuple[str, Frames]]


def sheet(cases: Sequence[Shown]) -> UInt8[np.ndarray, "height width 3"]:
    """All on one picture, every frame with a height of 96 pixels."""
    font = ImageFont.load_default(14)
    columns = max(len(frames) for case in cases for _, frames in case.lines)
    height = sum(_CAPTION + len(case.lines) * (_SIDE + _GAP) + _GAP for case in cases)
    picture = Image.new("RGB", (_LABEL + columns * (_SIDE + _GAP), height), "white")
    draw, top = ImageDraw.Draw(picture), 0
    for caption, lines in cases:
        draw.text((_GAP, top + 4), caption, "black", font)
        top += _CAPTION
        for label, frames in lines:
            draw.text((_GAP, top + _SIDE // 2 - 8), label, "gray", font)
            for column, frame in enumerate(frames):
                tile = Image.fromarray(frame).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
                picture.paste(tile, (_LABEL + column * (_SIDE + _GAP), top))
            top += _SIDE + _GAP
        top += _GAP
    return np.array(picture)
