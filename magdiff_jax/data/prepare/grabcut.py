"""A segmenter without weights: GrabCut in a box, carried on by optical flow."""

import math
from collections.abc import Sequence

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare.stages import Box, Segmentation
from magdiff_jax.media.segment import segment_box


class GrabCut:
    """Segments what a box encloses in frame 0, whatever its label.

    Args:
        box: x, y, width and height as shares of the frame, 0 to 1; taken where none is known for a clip.

    Raises:
        ConfigError: `box` is not four numbers, is empty or does not lie within the frame.
    """

    name = "grabcut"

    def __init__(self, box: Sequence[int | float] = (0.2, 0.1, 0.6, 0.85)) -> None:
        if not _lies_within(box):
            raise ConfigError(f"box = {box!r}: must be x, y, width and height as shares of the frame, from 0 to 1")
        self._box = tuple(box)

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation:
        """As `stages.Segmenter`.

        Raises:
            UserError: the box that is given does not lie within the frame.
        """
        if box is None:
            height, width = frames.shape[1:3]
            x, y, box_width, box_height = self._box
            left, right = _pixels(x, box_width, width)
            top, bottom = _pixels(y, box_height, height)
            box = left, top, right - left, bottom - top
        masks = segment_box(frames, box)
        return Segmentation(masks if masks.any() else None, {"model": self.name, "box": list(box)})


def _lies_within(box: Sequence[int | float]) -> bool:
    if len(box) != 4 or not all(isinstance(value, int | float) and math.isfinite(value) for value in box):
        return False
    x, y, width, height = box
    # Shares such as 0.1 + 0.9 may add up to a little over 1.
    return min(x, y) >= 0 and min(width, height) > 0 and max(x + width, y + height) <= 1 + 1e-6


def _pixels(start: float, extent: float, side: int) -> tuple[int, int]:
    """First pixel and the one after the last, of at least one pixel."""
    first = min(round(start * side), side - 1)
    return first, min(max(round((start + extent) * side), first + 1), side)
