"""How a source's shape becomes a model's, and a result's the source's again."""

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.media.images import Window, stretch, subject_window

# See `Fitting`.
FITS = ("crop", "letterbox", "stretch")


class Fitting:
    """The way of pictures of one size to a model's shape and back.

    `crop`: the model sees the largest part of its proportions, in which the subject is; the result is that part.
    `letterbox`: it sees all, with bars that are cut off the result. `stretch`: it sees all, squeezed; the result is
    stretched back.

    Args:
        kind: one of `FITS`.
        size: height and width of the source.
        shape: height and width of the model's frames.
        extent: True where the subject is in any frame of the source.
    """

    def __init__(
        self, kind: str, size: tuple[int, int], shape: tuple[int, int], extent: Bool[np.ndarray, "height width"]
    ):
        height, width = size
        self._kind, self._size = kind, size
        # The source with bars, or squeezed: no side becomes smaller, so that nothing is lost yet.
        self._canvas = max(height, round(width * shape[0] / shape[1])), max(width, round(height * shape[1] / shape[0]))
        self._window: Window = (0, 0, width, height)
        if kind == "crop":
            self._window = subject_window(extent[None], *shape)
        self._bars = (self._canvas[0] - height) // 2, (self._canvas[1] - width) // 2

    def give(
        self, picture: UInt8[np.ndarray, "height width 3"] | Bool[np.ndarray, "height width"]
    ) -> UInt8[np.ndarray, "new_height new_width 3"] | Bool[np.ndarray, "new_height new_width"]:
        """A frame or mask of the source as the model is to see it, at about the source's size; bars are black."""
        if self._kind == "letterbox":
            (top, left), (height, width) = self._bars, self._size
            around = (top, self._canvas[0] - height - top), (left, self._canvas[1] - width - left)
            return np.pad(picture, (*around, (0, 0))[: picture.ndim])
        return picture if self._kind == "crop" else stretch(picture, *self._canvas)

    def part(self, picture: np.ndarray) -> np.ndarray:
        """What the result shows of a frame or mask of the source."""
        left, top, right, bottom = self._window
        return picture[top:bottom, left:right]

    def take(self, picture: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "new_height new_width 3"]:
        """A frame that the model has made, at the place and in the size of `part`."""
        left, top, right, bottom = self._window
        if self._kind == "letterbox":
            whole = stretch(picture, *self._canvas)
            return np.ascontiguousarray(whole[self._bars[0] :, self._bars[1] :][:bottom, :right])
        return stretch(picture, bottom - top, right - left)
