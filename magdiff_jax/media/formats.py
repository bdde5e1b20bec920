"""Pictures in formats that Pillow does not read by itself, known by their first bytes."""

import re
from functools import cache
from pathlib import Path

from magdiff_jax.errors import UserError
from magdiff_jax.extras import require

# Of HEIF's files, those that are coded as HEVC; AVIF has others.
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_XML = re.compile(rb"(\xef\xbb\xbf)?\s*<[?!s]")


def kind_of(path: Path) -> str | None:
    """ "HEIC", "JPEG XL" or "SVG"; None for all else, and where nothing can be read."""
    try:
        with path.open("rb") as file:
            start = file.read(1000)
    except OSError:
        return None
    if start[4:8] == b"ftyp":
        brands = start[8 : int.from_bytes(start[:4], "big")]
        return "HEIC" if _HEIC_BRANDS & {brands[at : at + 4] for at in range(0, len(brands), 4)} else None
    if start.startswith(_JPEG_XL):
        return "JPEG XL"
    is_svg = _XML.match(start) and b"<svg" in start and b"<html" not in start.lower()
    return "SVG" if is_svg else None


def pillow_format(path: Path) -> str | None:
    """What Pillow calls the format of such a picture, which it reads from now on; None for one that it reads anyway.

    Raises:
        UserError: the picture is not read, or not without a library that is not installed.
    """
    kind = kind_of(path)
    if kind is None:
        return None
    if kind != "HEIC":
        raise UserError(f"{path} is a picture in {kind}, which is not read: save it as PNG or JPEG")
    try:
        require("heif", "pillow_heif")
    except UserError as error:
        raise UserError(f"{path} is a picture in HEIC: {error}") from None
    _register()
    return "HEIF"


@cache
def _register() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
