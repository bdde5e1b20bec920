"""Drawings placed in frames: moved, scaled and turned in one resampling, and laid over what is there."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.data.emoji.drawings import Sprite


class Layer(NamedTuple):
    """A part of a frame with a drawing in it.

    Attributes:
        pixels: red, green, blue, all times alpha, and alpha.
        rows: of the frame that `pixels` are.
        columns: the same.
    """

    pixels: UInt8[np.ndarray, "_height _width 4"]
    rows: slice
    columns: slice

    def over(self, frame: UInt8[np.ndarray, "_height _width 3"]) -> None:
        """Lays the drawing over a frame."""
        import cv2

        under = frame[self.rows, self.columns]
        clear = cv2.cvtColor(cv2.bitwise_not(self.pixels[..., 3]), cv2.COLOR_GRAY2RGB)
        seen = cv2.multiply(under, clear, scale=1 / 255)
        cv2.add(seen, cv2.cvtColor(self.pixels, cv2.COLOR_RGBA2RGB), dst=seen)
        under[:] = seen

    def fill(self, alpha: UInt8[np.ndarray, "_height _width"]) -> None:
        """Writes the drawing's alpha into that of the frame."""
        alpha[self.rows, self.columns] = self.pixels[..., 3]


def place(sprite: Sprite, centre: tuple[float, float], longest: float, angle: float, height: int, width: int) -> Layer:
    """The drawing at its place in a frame of `height` x `width` pixels.

    Args:
        sprite: the drawing.
        centre: of its box, x and y in pixels of the frame.
        longest: side of its box, in pixels of the frame.
        angle: degrees, clockwise.
        height: of the frame.
        width: of the frame.
    """
    import cv2

    scale = longest / sprite.longest
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Half the extent of the turned box; two pixels more, for the resampling.
    across, along = scale * sprite.centre[0], scale * sprite.centre[1]
    half_x = abs(cosine) * across + abs(sine) * along + 2
    half_y = abs(sine) * across + abs(cosine) * along + 2
    left, right = max(0, math.floor(centre[0] - half_x)), min(width, math.ceil(centre[0] + half_x))
    top, bottom = max(0, math.floor(centre[1] - half_y)), min(height, math.ceil(centre[1] + half_y))
    # From the frame to the sprite. Pixel i of either is centred on i + 0.5.
    turn_x, turn_y = cosine / scale, sine / scale
    from_x, from_y = left + 0.5 - centre[0], top + 0.5 - centre[1]
    to_sprite = np.array(
        [
            [turn_x, turn_y, turn_x * from_x + turn_y * from_y + sprite.centre[0] - 0.5],
            [-turn_y, turn_x, turn_x * from_y - turn_y * from_x + sprite.centre[1] - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpAffine(sprite.pixels, to_sprite, (right - left, bottom - top), flags=flags)
    return Layer(pixels, slice(top, bottom), slice(left, right))
