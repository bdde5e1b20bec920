"""Record data sets of real clips."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from magdiff_jax.data.clip import ClipInfo, DecodedClip

NAMES = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")


def read_frames(path: Path, start: int, count: int, height: int, width: int) -> np.ndarray:
    """Frames of a video as FFmpeg gives them, at another size."""
    with av.open(str(path)) as container:
        frames = [frame for index, frame in zip(range(start + count), container.decode(video=0), strict=False)]
        return np.stack([frame.to_ndarray(format="rgb24", width=width, height=height) for frame in frames[start:]])


class ListSource:
    """Clips in a list."""

    def __init__(self, clips: list[DecodedClip]):
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> DecodedClip:
        return self._clips[index]


def ellipses(frames: int, height: int, width: int) -> np.ndarray:
    """A subject that moves to the right, [frame, height, width]."""
    rows, columns = np.mgrid[:height, :width]
    middles = width * (0.4 + 0.2 * np.arange(frames) / frames)
    return np.stack([((rows - height / 2) * 3) ** 2 + ((columns - x) * 2) ** 2 < height**2 for x in middles])


def real_clips(folder: Path) -> ListSource:
    """Eleven clips of 5 to 15 frames and three shapes, with and without masks."""
    clips = []
    for index in range(11):
        name = NAMES[index % 3]
        height, width = ((72, 128), (68, 160), (144, 176))[index % 3]
        length = 5 + index
        frames = read_frames(folder / name, 3 * index, length, height, width)
        info = ClipInfo(
            id=f"{index:02d}",
            source="real",
            length=length,
            height=height,
            width=width,
            fps=25.0,
            caption=f"a film number {index} — « ciné »",
            augmented_caption=f"a film number {index} — « ciné », number {index}",
            label=f"number {index}",
            category=("person", "animal", "object", "other")[index % 4],
            provenance={"index": index, "frames": {"from": name}},
        )
        clips.append(DecodedClip(info, frames, None if index == 4 else ellipses(length, height, width)))
    return ListSource(clips)


@pytest.fixture(scope="session")
def real_source(clips: Path) -> ListSource:
    return real_clips(clips)


@pytest.fixture(scope="session")
def records(real_source: ListSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a record data set of these clips, split "train"."""
    from magdiff_jax.data.builder import ClipBuilder

    class Real(ClipBuilder):
        """Real clips."""

        def sources(self, manual_dir: Path) -> Mapping[str, Any]:
            return {"train": real_source}

    builder = Real(data_dir=tmp_path_factory.mktemp("records"))
    builder.download_and_prepare()
    return Path(builder.data_dir)
