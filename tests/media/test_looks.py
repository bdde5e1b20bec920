"""What files say of their own looks: profiles, HDR, the shape of pixels, orientation, what is an animation."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from magdiff_jax.media.container import shown_size
from magdiff_jax.media.images import count_frames, frame_durations, picture_size, read_image
from magdiff_jax.media.shown import _TO_SRGB
from magdiff_jax.media.video import read_video
from tests.media.colours import hlg, matrix_to_srgb, pq, profile, srgb_light

PATCHES = np.array([[200, 60, 60], [60, 160, 60], [60, 60, 200]], np.uint8)
# Chromaticities of red, green and blue.
PRIMARIES = {9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))}


@pytest.fixture
def patches() -> Image.Image:
    return Image.fromarray(PATCHES.repeat(16, axis=0)[None].repeat(16, axis=0))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("space", ["display-p3", "adobe-rgb", "prophoto"])
def test_profiles_are_honoured(tmp_path, patches, space, mode):
    there = ImageCms.ImageCmsProfile(io.BytesIO(profile(space)))
    stored = ImageCms.profileToProfile(patches, ImageCms.createProfile("sRGB"), there, renderingIntent=1)
    converted = stored.quantize(8, dither=Image.Dither.NONE) if mode == "P" else stored.convert(mode)
    converted.save(tmp_path / "a.png", icc_profile=profile(space))
    assert np.abs(np.asarray(stored).astype(int) - np.asarray(patches)).max() > 10
    picture = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(picture.rgb, np.asarray(patches), atol=2)
    assert (picture.alpha is None) == (mode != "RGBA")


def test_a_damaged_profile_is_passed_by(tmp_path, patches):
    patches.save(tmp_path / "a.png", icc_profile=b"no profile")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").rgb, np.asarray(patches))
    gray = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    patches.save(tmp_path / "b.png", icc_profile=gray)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").rgb, np.asarray(patches))


@pytest.mark.parametrize("primaries", _TO_SRGB)
def test_matrices_follow_from_the_primaries(primaries):
    np.testing.assert_allclose(_TO_SRGB[primaries], matrix_to_srgb(PRIMARIES[primaries]), atol=2e-4)


@pytest.mark.parametrize(("transfer", "curve"), [(16, pq), (18, hlg), (1, None)])
@pytest.mark.parametrize("primaries", [9, 12])
def test_hdr_and_wide_gamuts_become_srgb(tmp_path, transfer, curve, primaries):
    """The same colours, filmed as phones do, with diffuse white where BT.2408 has it."""
    colours = np.array([[200, 50, 50], [50, 200, 50], [50, 50, 200], [255, 255, 255], [90, 90, 90]], np.uint8)
    light = srgb_light(colours / 255) @ np.linalg.inv(matrix_to_srgb(PRIMARIES[primaries])).T
    signal = curve(light) if curve else srgb_signal(light)
    pixels = np.round(signal * 65535).astype(np.uint16).repeat(16, axis=0)[None].repeat(16, axis=0)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=8)
        stream.height, stream.width, stream.pix_fmt = 16, 80, "gbrp16le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = primaries, transfer, 0
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le").reformat(format="gbrp16le")
        frame.color_primaries, frame.color_trc, frame.colorspace = primaries, transfer, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    if transfer == 1:
        shown = read_video(path, 1).frames[0]
    else:
        with pytest.warns(UserWarning, match=r"a\.mkv is an HDR video: it is mapped"):
            shown = read_video(path, 1).frames[0]
    np.testing.assert_allclose(shown[8, 8::16], colours, atol=3)


def srgb_signal(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.abs(light) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("width", "height", "aspect", "shown"),
    [
        (160, 160, Fraction(16, 9), (284, 160)),
        (720, 576, Fraction(64, 45), (1024, 576)),
        (720, 480, Fraction(8, 9), (720, 540)),
        (176, 144, Fraction(12, 11), (192, 144)),
        (64, 48, Fraction(1), (64, 48)),
    ],
)
def test_pixels_that_are_not_square(width, height, aspect, shown):
    assert shown_size(width, height, aspect) == shown


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif", "avif"])
def test_every_format_is_upright_and_so_is_its_size(tmp_path, patches, form, orientation):
    upright = Image.fromarray(np.asarray(patches)[:12])
    stored = upright if orientation == 1 else undo(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{form}"
    options = {"jpg": {"quality": 95, "subsampling": 0}, "webp": {"lossless": True}, "avif": {"quality": 95}}
    stored.save(path, exif=exif, **options.get(form, {}))
    shown = read_image(path).rgb
    assert picture_size(path) == shown.shape[:2] == (12, 48)
    assert np.abs(shown.astype(int) - np.asarray(upright)).mean() < 4


def undo(upright, orientation):
    """The picture as a camera that was held so stores it (Exif 2.3, 0x0112)."""
    array = np.asarray(upright)
    stored = {
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.swapaxes(0, 1),
        6: array[::-1].swapaxes(0, 1)[::-1, ::-1],
        7: array[::-1, ::-1].swapaxes(0, 1),
        8: array[:, ::-1].swapaxes(0, 1)[::-1, ::-1],
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(stored))


def test_pages_and_a_telephone_s_extra_pictures_are_no_animation(tmp_path, patches):
    other = Image.eval(patches, lambda value: 255 - value)
    patches.save(tmp_path / "pages.tif", save_all=True, append_images=[other])
    patches.save(tmp_path / "gain_map.jpg", "MPO", save_all=True, append_images=[other], quality=95)
    for name in ("pages.tif", "gain_map.jpg"):
        assert count_frames(tmp_path / name) == 1
        assert frame_durations(tmp_path / name) == [0]
        assert np.abs(read_image(tmp_path / name).rgb.astype(int) - np.asarray(patches)).mean() < 20


def test_a_still_for_old_readers_is_no_frame_of_an_animation(tmp_path, patches):
    frames = [Image.eval(patches, lambda value, index=index: value // (index + 1)) for index in range(4)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], default_image=True, duration=40)
    assert count_frames(tmp_path / "a.png") == 3
    clip = read_video(tmp_path / "a.png", 3)
    np.testing.assert_array_equal(clip.frames, np.stack([np.asarray(frame) for frame in frames[1:]]))
    assert clip.fps == pytest.approx(25)
