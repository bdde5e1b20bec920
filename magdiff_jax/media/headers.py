"""The size of an encoded picture by its header, before any of it is unpacked."""

import struct

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
# JPEG's markers (ITU-T T.81, table B.1) of segments that may stand before a frame's header, and those of such headers.
_SEGMENTS = {0xC4, 0xCC, *range(0xDB, 0xE0), *range(0xE0, 0xF0), 0xFE}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def stated_size(encoded: bytes) -> tuple[int, int] | None:
    """Height and width in pixels that a PNG or JPEG file's header states.

    None for all else: in a header out of the ordinary a decoder might find another size.
    """
    try:
        if encoded.startswith(_PNG):
            width, height = struct.unpack_from(">II", encoded, len(_PNG))
            return height, width
        return _jpeg_size(encoded)
    except (IndexError, struct.error):  # cut short
        return None


def _jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    if not encoded.startswith(b"\xff\xd8"):
        return None
    at = 2
    while encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", encoded, at + 5)
            return height, width
        if marker in _SEGMENTS:
            (length,) = struct.unpack_from(">H", encoded, at + 2)
            at += 2 + length
        elif marker == 0xFF:  # filling
            at += 1
        else:
            return None
    return None
