"""The same cut-out as background removers export it: its transparency is the mask, whatever the file."""

from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.media.masks import read_masks
from magdiff_jax.media.readers import open_reader
from magdiff_jax.media.video import read_pictures
from tests.media.ffmpeg import ffmpeg

KINDS = {
    "vp9.webm": "-c:v libvpx-vp9 -pix_fmt yuva420p",
    "vp8.webm": "-c:v libvpx -auto-alt-ref 0 -pix_fmt yuva420p",
    "prores.mov": "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le",
    "qtrle.mov": "-c:v qtrle -pix_fmt argb",
    "png.mov": "-c:v png -pix_fmt rgba",
    "ffv1.mkv": "-c:v ffv1 -pix_fmt yuva420p",
    "anim.apng": "-f apng -plays 0",
    "anim.webp": "-c:v libwebp_anim -lossless 1",
    "anim.gif": "-lavfi split[a][b];[a]palettegen[p];[b][p]paletteuse",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dark square with a bright stripe that moves down, clear around it."""
    path = tmp_path_factory.mktemp("alpha") / "source.mkv"
    gray, alpha = "if(between(Y,18+2*N,21+2*N),240,48)", "255*between(X,16,47)*between(Y,16,47)"
    drawn = f"geq=r='{gray}':g='{gray}':b='{gray}':a='{alpha}'"
    given = f"color=c=black@0:s=64x64:r=8:d=1,format=rgba,{drawn}"
    ffmpeg("-f", "lavfi", "-i", given, "-c:v", "ffv1", str(path))
    return path


@pytest.mark.parametrize("name", KINDS)
def test_transparency_is_the_mask(source: Path, tmp_path: Path, name: str) -> None:
    ffmpeg("-i", str(source), *KINDS[name].split(), str(tmp_path / name))
    square = np.zeros((8, 64, 64), bool)
    square[:, 16:48, 16:48] = True
    found = read_masks(tmp_path / name, 8, 64, 64)
    assert (found != square).mean() < 0.002
    # From frames of its own choice, too: decoding begins anew for them.
    late = read_pictures(open_reader(tmp_path / name), [6, 2])
    assert all(picture.alpha is not None and abs((picture.alpha > 127).mean() - 0.25) < 0.005 for picture in late)
