"""Small sets of real clips for the report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import ClipInfo, DecodedClip
from magdiff_jax.media.segment import segment_box
from magdiff_jax.media.video import read_video

DESCRIPTION = "Cuts of real clips & their <masks>."


@pytest.fixture(scope="session")
def mini(clips: Path) -> list[DecodedClip]:
    """Four clips: a man, the same man again under 5 % of the frame, a street at exactly 60 %, and a null mask."""
    car = read_video(clips / "carphone_pristine.mp4", 10).frames[:, :144, :176]
    street = read_video(clips / "bikes.mp4", 5).frames
    man = ClipInfo(
        id="car-0",
        source="mini",
        length=10,
        height=144,
        width=176,
        fps=20.0,
        caption="a man talks in a car",
        label="man",
        category="person",
        provenance={"tracker": "GrabCut & flow"},
    )
    small = np.zeros((10, 144, 176), bool)
    small[:, 10:20, 10:20] = True
    bikes = ClipInfo(id="bikes-0", source="mini", length=5, height=272, width=640, fps=12.5, label="street")
    most = np.zeros((5, 272, 640), bool)
    most[:, :, : 640 * 6 // 10] = True
    return [
        DecodedClip(man, car, segment_box(car, (40, 20, 100, 120))),
        DecodedClip(replace(man, id="car-1", fps=5.0, caption="the man <script>alert(1)</script> & 猫"), car, small),
        DecodedClip(replace(bikes, category="object"), street, most),
        DecodedClip(replace(bikes, id="bikes-1", label="", caption="wheels"), street, None),
    ]


@pytest.fixture(scope="session")
def mini_records(mini: list[DecodedClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four clips as records, split train; the folder with dataset_info.json."""

    class Mini(ClipBuilder, skip_registration=True):
        __doc__ = DESCRIPTION

        def sources(self, manual_dir: Path) -> dict[str, list[DecodedClip]]:
            return {"train": mini, "test": mini[:1]}

    builder = Mini(data_dir=str(tmp_path_factory.mktemp("mini")))
    builder.download_and_prepare()
    return Path(builder.data_dir)
