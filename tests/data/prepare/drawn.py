"""Small drawn videos whose labels are known, so that no language model is needed, and segmenters for them."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare.stages import Box, Segmentation
from magdiff_jax.media.writing import write_video

SIDE, FRAMES = 32, 8


def draw(folder: Path, count: int) -> Path:
    """Videos 000.mp4, 001.mp4, … of a bright square; the blue of the ground behind it tells their number."""
    folder.mkdir(parents=True)
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["video", "caption", "label"])
        for number in range(count):
            add(folder, number)
            table.writerow([f"{number:03}.mp4", f"Square number {number}.", "square"])
    return folder


def add(folder: Path, number: int) -> Path:
    """One more of them, which no caption tells of."""
    frames = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    frames[..., 2] = number * 12 % 256
    frames[:, 8:20, 8:20] = 250
    path = folder / f"{number:03}.mp4"
    write_video(path, frames, 8.0)
    return path


class Bright:
    """Segments what is bright; before it does, calls `before` with the clip's frames."""

    name = "bright"
    before: ClassVar[Callable[[np.ndarray], None]] = staticmethod(lambda frames: None)

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation:
        type(self).before(frames)
        return Segmentation(frames[..., 0] > 128, {"model": self.name})


def number(frames: np.ndarray) -> int:
    """Which of the drawn videos frames are of."""
    return round(float(frames[:, -6:, -6:, 2].mean()) / 12)


def flags(folder: Path, out: Path, **config: Any) -> list[str]:
    """Of a run on drawn videos, with `Bright` registered as the segmenter "bright"."""
    values = {
        "splits.train.folder": folder,
        "splits.train.captions": folder / "captions.csv",
        "rules.short_side": 16,
        "segmenter.kind": "bright",
        **config,
    }
    return [
        "--config",
        "configs/data/weightless.py",
        "--out",
        str(out),
        *(f"--config.{k}={v}" for k, v in values.items()),
    ]
