import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import fit, read_image, replacing, write_image


def png(path, values, color_type):
    """Writes a 16-bit PNG by hand, since Pillow writes none in colour."""

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )
    return path


def test_rgb_png_is_read_exactly(tmp_path, cat):
    Image.fromarray(cat[:77, :101]).save(tmp_path / "odd.png")
    picture = read_image(tmp_path / "odd.png")
    np.testing.assert_array_equal(picture.rgb, cat[:77, :101])
    assert picture.alpha is None


def test_transparent_pixels_keep_their_colour(tmp_path, cat):
    alpha = np.zeros(cat.shape[:2], np.uint8)
    alpha[100:200, 100:300] = 255
    Image.fromarray(np.dstack([cat, alpha])).save(tmp_path / "cut.png")
    picture = read_image(tmp_path / "cut.png")
    np.testing.assert_array_equal(picture.rgb, cat)
    np.testing.assert_array_equal(picture.alpha, alpha)


def test_gray_and_gray_with_alpha(tmp_path, cat):
    gray = Image.fromarray(cat).convert("L")
    gray.save(tmp_path / "gray.png")
    picture = read_image(tmp_path / "gray.png")
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.rgb, np.stack([np.asarray(gray)] * 3, axis=-1))

    gray.putalpha(Image.fromarray(cat[..., 1]))
    gray.save(tmp_path / "la.png")
    with_alpha = read_image(tmp_path / "la.png")
    np.testing.assert_array_equal(with_alpha.rgb, picture.rgb)
    np.testing.assert_array_equal(with_alpha.alpha, cat[..., 1])


def test_palette_with_and_without_transparency(tmp_path, cat):
    palette = Image.fromarray(cat).quantize(32)
    palette.save(tmp_path / "palette.png")
    picture = read_image(tmp_path / "palette.png")
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.rgb, np.asarray(palette.convert("RGB")))

    palette.save(tmp_path / "clear.png", transparency=3)
    clear = read_image(tmp_path / "clear.png")
    np.testing.assert_array_equal(clear.alpha, np.where(np.asarray(palette) == 3, 0, 255))

    # A transparency for each palette entry.
    palette.save(tmp_path / "clears.png", transparency=bytes(range(0, 256, 8)))
    clears = read_image(tmp_path / "clears.png")
    np.testing.assert_array_equal(clears.alpha, np.asarray(palette) * 8)


def test_one_bit_picture(tmp_path):
    Image.fromarray(np.eye(9, dtype=bool)).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.png").rgb[..., 0], np.eye(9) * 255)


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (6, 4)])
def test_16_bit_png_is_scaled_not_clipped(tmp_path, cat, color_type, channels):
    eight = np.dstack([cat, cat[..., 1]])[..., :channels]
    picture = read_image(png(tmp_path / "deep.png", eight.astype(np.uint16) * 257, color_type))
    np.testing.assert_array_equal(picture.rgb, np.broadcast_to(eight[..., :3], cat.shape))
    if channels == 4:
        np.testing.assert_array_equal(picture.alpha, eight[..., 3])


def test_16_bit_tiff_and_pgm(tmp_path, cat):
    deep = Image.fromarray(cat[..., 0].astype(np.uint16) * 257)
    for name in ("deep.tiff", "deep.pgm"):
        deep.save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name).rgb[..., 2], cat[..., 0])


@pytest.mark.parametrize(("kind", "word"), [(np.float32, "floating"), (np.int32, "16 bits")])
def test_values_without_a_known_range_are_refused(tmp_path, kind, word):
    Image.fromarray(np.arange(0, 900000, 10000, dtype=kind).reshape(9, 10)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=word):
        read_image(tmp_path / "a.tif")


def test_cmyk_jpeg(tmp_path, cat, psnr):
    Image.fromarray(cat).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert psnr(read_image(tmp_path / "print.jpg").rgb, cat) > 35


@pytest.mark.parametrize(("orientation", "turn"), [(6, -1), (8, 1), (3, 2)])
def test_exif_orientation_is_applied(tmp_path, cat, psnr, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(cat).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    rgb = read_image(tmp_path / "phone.jpg").rgb
    assert psnr(rgb, np.rot90(cat, turn)) > 35


def test_animation_gives_its_first_frame(tmp_path, cat):
    first, second = Image.fromarray(cat), Image.fromarray(255 - cat)
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp").rgb, cat)


def test_phone_picture_with_a_second_one_inside(tmp_path, cat, psnr):
    first, second = Image.fromarray(cat), Image.fromarray(255 - cat)
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second], quality=95)
    assert psnr(read_image(tmp_path / "a.jpg").rgb, cat) > 35


def test_missing_folder_and_not_a_picture(tmp_path):
    (tmp_path / "note.png").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UserError, match="does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="is a folder"):
        read_image(tmp_path)
    for name in ("note.png", "empty.jpg"):
        with pytest.raises(UserError, match=f"{name} cannot be read as a picture"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tif", "bmp"])
def test_truncated_file(tmp_path, cat, suffix):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(cat).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be read as a picture"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9500, 30000])
def test_huge_picture_is_refused_before_decoding(tmp_path, side):
    path = png(tmp_path / "bomb.png", np.zeros((1, 1)), 2)
    header = path.read_bytes()
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(header[:12] + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + header[33:])
    with pytest.raises(UserError, match="over 89 megapixels"):
        read_image(path)


@pytest.mark.quick
def test_write_round_trip_replaces_and_leaves_no_other_file(tmp_path, cat, psnr):
    for name, least in (("a.png", np.inf), ("a.jpg", 40), ("b.JPEG", 40)):
        write_image(tmp_path / name, 255 - cat)
        write_image(tmp_path / name, cat)
        with np.errstate(divide="ignore"):
            assert psnr(read_image(tmp_path / name).rgb, cat) >= least
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jpg", "a.png", "b.JPEG"]


def test_write_errors(tmp_path, cat):
    with pytest.raises(UserError, match=r"\.png, \.jpg, \.jpeg"):
        write_image(tmp_path / "a.tiff", cat)
    with pytest.raises(UserError, match="could not be written: No such file"):
        write_image(tmp_path / "none" / "a.png", cat)


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with replacing(path) as new:
            new.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (300, 451), (33, 101), (400, 200), (1, 1)])
def test_fit_gives_the_size_asked_for(cat, height, width):
    assert fit(cat, height, width).shape == (height, width, 3)
    assert fit(cat[..., 0] > 99, height, width).dtype == bool


def test_fit_keeps_the_centre_and_the_proportions(cat):
    np.testing.assert_array_equal(fit(cat, 300, 451), cat)
    square = fit(cat, 300, 300)
    # 75.5 columns go on either side.
    np.testing.assert_array_equal(square, cat[:, 75:375])
    np.testing.assert_array_equal(fit(cat, 100, 50, within=(10, 20, 110, 220)), fit(cat[20:220, 10:110], 100, 50))


@pytest.mark.parametrize(("height", "width"), [(128, 128), (50, 150), (150, 50), (600, 900)])
def test_fit_keeps_picture_and_mask_aligned(cat, height, width):
    mask = np.zeros(cat.shape[:2], bool)
    mask[70:190, 130:330] = True
    painted = np.where(mask[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=-1)
    fitted = fit(painted, height, width)[..., 0] >= 128
    assert (fitted == fit(mask, height, width)).mean() > 0.98


def test_fit_antialiases():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit(stripes, 32, 32)[4:-4, 4:-4].astype(int) - 127).max() < 8
