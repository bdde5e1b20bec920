"""Pictures in formats that Pillow does not read by itself: HEIC through its library, the others told."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from magdiff_jax.errors import UserError
from magdiff_jax.media.formats import pillow_format
from magdiff_jax.media.images import picture_size, read_image
from magdiff_jax.media.readers import open_reader, picture_files

SVG = '<?xml version="1.0"?>\n<!-- drawn by hand --><svg xmlns="http://www.w3.org/2000/svg" width="4"/>'
NOT_READ = {
    "container.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    "codestream.jxl": (b"\xff\x0a\xfa\x7f", "JPEG XL"),
    "drawing.svg": (SVG.encode(), "SVG"),
    "bare.svg": (b"\xef\xbb\xbf <svg/>", "SVG"),
}


@pytest.fixture
def heic(tmp_path: Path, cat: np.ndarray) -> Path:
    """As a telephone that is held upright writes it: lying on its side, and turned by what the file says."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    lying = Image.fromarray(cat).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "photo.HEIC", exif=exif.tobytes(), quality=95)
    return tmp_path / "photo.HEIC"


def test_heic_is_read_upright(heic: Path, cat: np.ndarray, psnr) -> None:
    picture = read_image(heic)
    assert psnr(picture.rgb, cat) > 40
    assert not picture.is_exact
    assert picture_size(heic) == cat.shape[:2]
    assert picture_files(heic.parent) == [heic]
    assert open_reader(heic).is_still


def test_heic_is_read_in_srgb(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A profile whose red is sRGB's green and the other way round, under another name.
    swapped = srgb.replace(b"rXYZ", b"tmp.").replace(b"gXYZ", b"rXYZ").replace(b"tmp.", b"gXYZ")
    profile = swapped.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    Image.new("RGB", (64, 64), (200, 60, 60)).save(tmp_path / "a.heic", icc_profile=profile, quality=95)
    assert np.abs(read_image(tmp_path / "a.heic").rgb.astype(int) - (60, 200, 60)).max() < 8


def test_heic_without_its_library_names_what_to_install(heic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    complaint = rf"^{heic} is a picture in HEIC: this needs pillow_heif; install with: .*magdiff_jax\[heif\]'$"
    for read in (read_image, lambda path: open_reader(path).size):
        with pytest.raises(UserError, match=complaint):
            read(heic)


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_not_read_says_what_to_save_it_as(name: str, tmp_path: Path) -> None:
    content, kind = NOT_READ[name]
    (tmp_path / name).write_bytes(content)
    for read in (read_image, lambda path: open_reader(path).size):
        with pytest.raises(
            UserError, match=f"{name} is a picture in {kind}, which is not read: save it as PNG or JPEG"
        ):
            read(tmp_path / name)


def test_what_pillow_reads_is_left_to_it(tmp_path: Path, cat: np.ndarray, psnr) -> None:
    Image.fromarray(cat).save(tmp_path / "a.avif", quality=95)
    assert psnr(read_image(tmp_path / "a.avif").rgb, cat) > 30
    (tmp_path / "page.png").write_text("<!DOCTYPE html><html><svg/>not found</html>")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isomavc1")
    assert [pillow_format(tmp_path / name) for name in ("a.avif", "page.png", "film.mp4")] == [None] * 3
    with pytest.raises(
        UserError, match=r"page\.png cannot be read as a picture: it is none of PNG, .*; save it as PNG"
    ):
        read_image(tmp_path / "page.png")
