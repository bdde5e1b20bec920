"""Durations from blocks alone, and animations that are too large to draw."""

import struct
import time
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magdiff_jax.data.files import open_clip
from magdiff_jax.errors import UserError
from magdiff_jax.media.durations import KINDS, stated_durations
from magdiff_jax.media.images import count_frames, frame_durations, read_animation, read_image
from magdiff_jax.media.video import read_video

MILLISECONDS = [30, 500, 40, 1000, 20, 70]


def write_animation(path: Path, carphone: np.ndarray, **options: object) -> Path:
    images = [Image.fromarray(frame) for frame in carphone[: len(MILLISECONDS)]]
    images[0].save(path, save_all=True, append_images=images[1:], duration=MILLISECONDS, **options)
    return path


def decoded_durations(path: Path) -> list[Fraction]:
    """What Pillow finds out by drawing all frames."""
    seconds = []
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            seconds.append(Fraction(round(image.info["duration"]), 1000))
    return seconds


# A GIF by hand: each frame one pixel of a canvas of any size, unless a frame says more.
def gif(path: Path, side: int, frames: list[tuple[int, int]], pixels: bytes = b"\x02\x02\x44\x01\0") -> Path:
    """`frames`: the side and the hundredths of each."""
    blocks = [
        b"!\xf9\x04\0" + struct.pack("<H", hundredths) + b"\0\0," + struct.pack("<4HB", 0, 0, own, own, 0) + pixels
        for own, hundredths in frames
    ]
    path.write_bytes(
        b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0\0\0\0\xff\xff\xff" + b"".join(blocks) + b";"
    )
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def apng(path: Path, side: int, frames: int) -> Path:
    pixel = zlib.compress(b"\0\0")
    chunks = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", frames, 0)),
    ]
    for index in range(frames):
        chunks.append(chunk(b"fcTL", struct.pack(">5I2H2B", 2 * index, 1, 1, 0, 0, 1, 10, 0, 0)))
        chunks.append(chunk(b"fdAT", struct.pack(">I", 2 * index + 1) + pixel) if index else chunk(b"IDAT", pixel))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b""))
    return path


def webp(path: Path, side: int, frames: int) -> Path:
    images = [Image.new("RGB", (4, 4), (60 * index % 256, index, 0)) for index in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], lossless=True, duration=100)
    data = bytearray(path.read_bytes())
    assert data[12:16] == b"VP8X"
    data[24:30] = 2 * (side - 1).to_bytes(3, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.avif"])
def test_durations_are_those_that_drawing_finds(tmp_path: Path, carphone: np.ndarray, name: str) -> None:
    path = write_animation(tmp_path / name, carphone)
    expected = [Fraction(each, 1000) for each in MILLISECONDS]
    assert decoded_durations(path) == frame_durations(path) == expected


def test_what_else_a_gif_may_have_is_passed_by(tmp_path: Path, carphone: np.ndarray) -> None:
    path = write_animation(tmp_path / "a.gif", carphone, comment=b"x" * 600, interlace=True, loop=3, disposal=2)
    whole = path.read_bytes()
    (tmp_path / "b.gif").write_bytes(whole[:-1])
    # Stray bytes between blocks, a second control block, and text after the end.
    frame = whole.index(b"!\xf9")
    (tmp_path / "c.gif").write_bytes(whole[:frame] + b"\0\x01!\xf9\x04\0\x09\0\0\0" + whole[frame:] + b",text")
    for name in ("a.gif", "b.gif", "c.gif"):
        assert frame_durations(tmp_path / name) == decoded_durations(path), name


def test_durations_need_no_pixel(tmp_path: Path) -> None:
    path = gif(tmp_path / "a.gif", 64, [(64, 20), (64, 0), (64, 30)], pixels=b"\x0c\x04junk\0")
    assert frame_durations(path) == [Fraction(1, 5), 0, Fraction(3, 10)]
    info = open_clip(path, id="a", source="b").info
    # Browsers show a frame without a duration for a tenth of a second.
    assert (info.length, info.height, info.fps) == (3, 64, 5.0)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_that_is_cut_short_is_told(tmp_path: Path, carphone: np.ndarray, name: str) -> None:
    path = write_animation(tmp_path / name, carphone)
    whole = path.read_bytes()
    kind = {"gif": "GIF", "webp": "WEBP", "png": "PNG"}[name[2:]]
    assert kind in KINDS
    for size in range(60, len(whole), 997):
        path.write_bytes(whole[:size])
        assert len(stated_durations(path, kind)) <= len(MILLISECONDS)
        if count_frames(path) > 1:
            with pytest.raises(UserError, match=r"^[^\n]*$"):
                read_video(path, len(MILLISECONDS))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.gif", lambda path: gif(path, 9000, [(1, 10)] * 40)),
        ("a.png", lambda path: apng(path, 9000, 40)),
        ("a.webp", lambda path: webp(path, 9000, 40)),
    ],
)
def test_frames_of_too_many_pixels_together_are_refused_at_once(tmp_path: Path, name: str, write) -> None:
    path = write(tmp_path / name)
    assert path.stat().st_size < 10_000
    assert count_frames(path) == 40
    begun = time.process_time()
    for look in (
        lambda: open_clip(path, id="a", source="b").info,
        lambda: frame_durations(path),
        lambda: read_image(path),
        lambda: read_video(path, 1),
    ):
        with pytest.raises(UserError, match="its 40 frames of 9000x9000 have over 3000 megapixels together"):
            look()
    assert time.process_time() - begun < 5  # drawing them takes a minute


def test_a_long_animation_of_a_usual_size_is_read(tmp_path: Path) -> None:
    path = gif(tmp_path / "a.gif", 512, [(1, 4)] * 10_000)
    info = open_clip(path, id="a", source="b").info
    assert (info.length, info.width, info.fps) == (10_000, 512, 25.0)
    assert [number for number, _ in read_animation(path, {3, 9})] == [3, 9]


def test_a_frame_that_outgrows_its_gif_is_told_where_it_is_reached(tmp_path: Path) -> None:
    path = gif(tmp_path / "a.gif", 8, [(1, 10), (9, 10)])
    assert read_image(path).rgb.shape == (8, 8, 3)
    with pytest.raises(UserError, match="it has frames of 8x8 and of 9x9"):
        list(read_animation(path, {1}))
