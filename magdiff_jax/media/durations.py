"""For how long an animated picture shows each frame, from the file's blocks alone: no pixel is unpacked.

GIF89a; the WebP container (RFC 9649); APNG (the PNG specification, third edition).
"""

import mmap
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Literal

# What a GIF's blocks and a PNG's chunks begin with.
_EXTENSION, _IMAGE, _CONTROL = 0x21, 0x2C, 0xF9


def stated_durations(path: Path, kind: str) -> list[Fraction]:
    """Seconds for each frame that the file has whole headers of; as many as that are, where it is cut short.

    Args:
        path: of a file that is not empty.
        kind: one of `KINDS`.
    """
    seconds: list[Fraction] = []
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        suppress(IndexError),  # the end came early
    ):
        for each in _WALKS[kind](data):
            seconds.append(each)
    return seconds


def _gif(data: mmap.mmap) -> Iterator[Fraction]:
    at = 13 + _palette(data[10])
    seconds = Fraction(0)
    while at < len(data) and data[at] != ord(";"):
        if data[at] == _EXTENSION:
            if data[at + 1] == _CONTROL:
                seconds = Fraction(_number(data, at + 4, 2, "little"), 100)
            at = _after_blocks(data, at + 2)
        elif data[at] == _IMAGE:
            # Its place and size, its palette, the width of its codes.
            at = _after_blocks(data, at + 10 + _palette(data[at + 9]) + 1)
            yield seconds
            seconds = Fraction(0)
        else:
            at += 1  # stray bytes, which all viewers pass by


def _palette(flags: int) -> int:
    """Bytes of the palette that a GIF's flags announce."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _after_blocks(data: mmap.mmap, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _webp(data: mmap.mmap) -> Iterator[Fraction]:
    at = 12
    while at < len(data):
        if data[at : at + 4] == b"ANMF":
            yield Fraction(_number(data, at + 20, 3, "little"), 1000)
        size = _number(data, at + 4, 4, "little")
        at += 8 + size + size % 2


def _png(data: mmap.mmap) -> Iterator[Fraction]:
    at = 8
    while at < len(data):
        if data[at + 4 : at + 8] == b"fcTL":
            # 0 stands for hundredths.
            yield Fraction(_number(data, at + 28, 2, "big"), _number(data, at + 30, 2, "big") or 100)
        at += 12 + _number(data, at, 4, "big")


def _number(data: mmap.mmap, at: int, size: int, order: Literal["little", "big"]) -> int:
    """Raises IndexError where the file ends before it."""
    _ = data[at + size - 1]
    return int.from_bytes(data[at : at + size], order)


_WALKS = {"GIF": _gif, "WEBP": _webp, "PNG": _png}
KINDS = frozenset(_WALKS)
