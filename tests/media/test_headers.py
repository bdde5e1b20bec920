"""Sizes by headers are those that decoders find, and nothing out of the ordinary has one."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from magdiff_jax.media.headers import stated_size


def encoded(cat: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(cat[:77, :101]).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "comment": b"x" * 700, "icc_profile": bytes(range(256)) * 600}),
    ],
)
def test_sizes_are_those_of_the_decoded_picture(cat: np.ndarray, kind: str, options: dict[str, object]) -> None:
    data = encoded(cat, kind, **options)
    assert stated_size(data) == (77, 101) == cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    for size in range(len(data) // 4):
        assert stated_size(data[:size]) in (None, (77, 101))


def test_a_jpeg_s_filling_is_passed_by_and_what_decoders_may_read_otherwise_is_not(cat: np.ndarray) -> None:
    data = encoded(cat, "JPEG")
    assert stated_size(b"\xff\xd8\xff\xff\xff" + data[3:]) == (77, 101)
    hidden = b"\xff\xc0" + struct.pack(">HBHHB", 8, 8, 4, 4, 0)
    # Markers without a length, and bytes between segments.
    for strange in (b"\xff\x01" + hidden, b"\xff\xd0" + hidden, b"\0" + hidden, b"\xff\xd8" + hidden):
        assert stated_size(data[:2] + strange + data[2:]) is None


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "BMP"])
def test_other_kinds_have_none(cat: np.ndarray, kind: str) -> None:
    assert stated_size(encoded(cat, kind)) is None
    assert stated_size(b"") is None
