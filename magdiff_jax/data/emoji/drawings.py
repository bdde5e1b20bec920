"""The drawings as pixels: rendered from SVG when first needed, and kept while there is room."""

import threading
from collections import OrderedDict
from io import BytesIO
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.data.emoji.backgrounds import COLOURS
from magdiff_jax.data.emoji.subjects import drawing

# Rasters have sides of powers of two. The outline is measured on one of this side, whatever size is drawn.
OUTLINE_SIDE = 64
_LEAST_SIDE, _MOST_SIDE = 16, 2048
# Enough for nearly all drawings in frames of 256 pixels; frames of 64 take 16 MiB.
_MOST_BYTES = 256 * 2**20


class Outline(NamedTuple):
    """The measures of a drawing. Lengths other than those of the box are in units of the box's longer side.

    Attributes:
        box: left, top, right, bottom of what is drawn, in 1/64 of the canvas's side.
        width: of the box, at most 1.
        height: of the box, at most 1.
        radius: of the circle around the box's centre that holds the drawing.
        area: that the drawing covers.
        colours: the share of the drawing that is nearest to each of `COLOURS`, by its name.
    """

    box: tuple[int, int, int, int]
    width: float
    height: float
    radius: float
    area: float
    colours: dict[str, float]


class Sprite(NamedTuple):
    """The drawing's box as pixels.

    Attributes:
        pixels: red, green, blue, all times alpha, and alpha.
        centre: of the box, x and y in pixels of the sprite.
        longest: side of the box, in pixels of the sprite.
    """

    pixels: UInt8[np.ndarray, "height width 4"]
    centre: tuple[float, float]
    longest: float


class Drawings:
    """All drawings, at any size. Threads may share it; a pickled one begins empty.

    It keeps the rasters that were used last, up to 256 MiB, and the outline of every drawing it has met.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sprites: OrderedDict[tuple[str, int], Sprite] = OrderedDict()
        self._bytes = 0
        self._outlines: dict[str, Outline] = {}

    def __reduce__(self) -> tuple:
        return Drawings, ()

    def outline(self, code: str) -> Outline:
        """The measures of a drawing, by its code."""
        if code not in self._outlines:
            raster = _render(code, OUTLINE_SIDE)
            outline = _measure(raster)
            # Rendering is the dear part, and small clips need this very raster next.
            self._keep(code, OUTLINE_SIDE, _cut(raster, outline.box))
            self._outlines[code] = outline
        return self._outlines[code]

    def sprite(self, code: str, longest: float) -> Sprite:
        """The drawing in the smallest raster in which its box's longer side has at least `longest` pixels."""
        box = self.outline(code).box
        side = _LEAST_SIDE
        while side < _MOST_SIDE and side * max(box[2] - box[0], box[3] - box[1]) < longest * OUTLINE_SIDE:
            side *= 2
        return self._sprite(code, side)

    def _sprite(self, code: str, side: int) -> Sprite:
        with self._lock:
            if (code, side) in self._sprites:
                self._sprites.move_to_end((code, side))
                return self._sprites[code, side]
        # Outside of the lock: that two threads may render the same drawing costs less than all waiting for one.
        if side < OUTLINE_SIDE:
            sprite = _halved(self._sprite(code, 2 * side))
        else:
            sprite = _cut(_render(code, side), self.outline(code).box)
        self._keep(code, side, sprite)
        return sprite

    def _keep(self, code: str, side: int, sprite: Sprite) -> None:
        with self._lock:
            if (code, side) not in self._sprites:
                self._sprites[code, side] = sprite
                self._bytes += sprite.pixels.nbytes
            while self._bytes > _MOST_BYTES:
                _, dropped = self._sprites.popitem(last=False)
                self._bytes -= dropped.pixels.nbytes


def _render(code: str, side: int) -> UInt8[np.ndarray, "{side} {side} 4"]:
    """The whole canvas, premultiplied RGBA."""
    import cv2
    import resvg_py
    from PIL import Image

    # No drawing has text, and looking for fonts takes longer than drawing.
    png = resvg_py.svg_to_bytes(svg_string=drawing(code), width=side, height=side, skip_system_fonts=True)
    return cv2.cvtColor(np.asarray(Image.open(BytesIO(png))), cv2.COLOR_RGBA2mRGBA)


def _cut(raster: UInt8[np.ndarray, "side side 4"], box: tuple[int, int, int, int]) -> Sprite:
    unit = len(raster) // OUTLINE_SIDE
    left, top, right, bottom = (edge * unit for edge in box)
    width, height = right - left, bottom - top
    return Sprite(raster[top:bottom, left:right].copy(), (width / 2, height / 2), float(max(width, height)))


def _halved(sprite: Sprite) -> Sprite:
    import cv2

    height, width = sprite.pixels.shape[:2]
    even = cv2.copyMakeBorder(sprite.pixels, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    pixels = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return Sprite(pixels, (sprite.centre[0] / 2, sprite.centre[1] / 2), sprite.longest / 2)


def _measure(raster: UInt8[np.ndarray, "side side 4"]) -> Outline:
    alpha = raster[..., 3]
    columns, rows = np.flatnonzero(alpha.any(axis=0)), np.flatnonzero(alpha.any(axis=1))
    left, top, right, bottom = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    longest = max(right - left, bottom - top)
    y, x = np.nonzero(alpha)
    # To the farther edge of each pixel.
    away_x, away_y = (
        np.abs(at + 0.5 - centre) + 0.5 for at, centre in ((x, (left + right) / 2), (y, (top + bottom) / 2))
    )
    opaque = raster[alpha > 250][:, :3].astype(np.float32)
    palette = np.array([colour for colour, _ in COLOURS.values()], np.float32)
    nearest = ((opaque[:, None] - palette) ** 2).sum(axis=-1).argmin(axis=1)
    shares = np.bincount(nearest, minlength=len(palette)) / max(1, len(opaque))
    return Outline(
        box=(left, top, right, bottom),
        width=(right - left) / longest,
        height=(bottom - top) / longest,
        radius=round(float(np.hypot(away_x, away_y).max()) / longest, 3),
        area=round(float(alpha.mean(dtype=np.float64)) / 255 * (OUTLINE_SIDE / longest) ** 2, 3),
        colours={name: round(float(share), 3) for name, share in zip(COLOURS, shares, strict=True)},
    )
