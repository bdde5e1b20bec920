"""Pictures: read them safely, write them atomically, fit them to a size."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import ExifTags, Image, ImageOps

from magdiff_jax.errors import UserError
from magdiff_jax.replacing import replacing

# Just under the size at which Pillow itself warns of a decompression bomb.
MAX_PIXELS = 89_000_000

# Named one by one because some of Pillow's other readers start programs or only read headers.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
# left, top, right, bottom in pixels; right and bottom are the first ones outside.
Window = tuple[int, int, int, int]

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


@dataclass(frozen=True)
class Picture:
    """An 8-bit picture; `alpha` (255 = opaque) is None where the file has no transparency."""

    rgb: UInt8[np.ndarray, "height width 3"]
    alpha: UInt8[np.ndarray, "height width"] | None


def read_image(path: str | Path) -> Picture:
    """Reads a picture, upright; of an animated file, the first frame.

    16-bit values are scaled to 8 bits; colours under transparent pixels are kept as they are.

    Raises:
        UserError: the file is missing, a folder, not a picture, damaged, or over `MAX_PIXELS`.
    """
    picture, _ = next(read_animation(path))
    return picture


def read_animation(path: str | Path) -> Iterator[tuple[Picture, Fraction]]:
    """Yields the frames of a picture file with the seconds each is shown (0 for a still).

    Raises:
        UserError: as `read_image` does, when the frame concerned is reached.
    """
    with _opened(Path(path)) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            milliseconds = Fraction(image.info.get("duration") or 0)
            yield _to_picture(image), milliseconds / 1000


def picture_size(path: Path) -> tuple[int, int]:
    """Returns height and width, upright, without decoding. Raises UserError as `read_image` does."""
    with _opened(path) as image:
        on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
        return (image.width, image.height) if on_its_side else (image.height, image.width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if path.is_dir():
        raise UserError(f"{path} is a folder: name one picture in it")
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except _BOMBS as error:
        raise UserError(f"{path} has over {MAX_PIXELS / 1e6:.0f} megapixels: make it smaller") from error
    # Pillow's decoders answer damaged files with a dozen kinds of exception.
    except Exception as error:
        raise UserError(f"{path} cannot be read as a picture: {error}") from error


def count_frames(path: Path) -> int:
    """Returns how many frames a picture file holds: 1 for a still, 0 when it is no picture."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return getattr(image, "n_frames", 1)
    except _BOMBS:
        return 1
    except Exception:
        return 0


def _to_picture(image: Image.Image) -> Picture:
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values need more than 16 bits; save it with 8 or 16 bits")
        # The high byte, which is also what Pillow keeps of 16-bit colour.
        gray = (values >> 8).astype(np.uint8)
        return Picture(np.stack([gray] * 3, axis=-1), None)
    if image.has_transparency_data:
        rgba = np.array(image.convert("RGBA"))
        return Picture(rgba[..., :3], rgba[..., 3])
    return Picture(np.array(image.convert("RGB")), None)


def write_image(path: str | Path, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """Writes a `.png` or `.jpg`/`.jpeg` file, replacing an older one.

    Raises:
        UserError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    options = _SAVE_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise UserError(f"{path}: a picture is written as {', '.join(_SAVE_OPTIONS)}")
    with replacing(path) as new:
        Image.fromarray(image).save(new, **options)


def centre_window(
    height: int, width: int, target_height: int, target_width: int, within: Window | None = None
) -> Window:
    """The largest window of the target's proportions in the middle of a picture, or of the window `within` it."""
    left, top, right, bottom = within or (0, 0, width, height)
    window_height = max(1, round(min(bottom - top, (right - left) * target_height / target_width)))
    window_width = max(1, round(min(right - left, (bottom - top) * target_width / target_height)))
    left, top = left + (right - left - window_width) // 2, top + (bottom - top - window_height) // 2
    return left, top, left + window_width, top + window_height


def fit(
    image: UInt8[np.ndarray, "height width 3"] | Bool[np.ndarray, "height width"],
    height: int,
    width: int,
    within: Window | None = None,
) -> UInt8[np.ndarray, "{height} {width} 3"] | Bool[np.ndarray, "{height} {width}"]:
    """Resizes so that the picture (or a window of it) just covers `height` x `width`; crops what is over, centred.

    Pictures are made smaller by averaging over areas (by the whole part of the factor) and then linearly, and larger by
    cubic interpolation, masks by nearest neighbour; all with the same geometry, so that a picture and its mask stay
    aligned.
    """
    import cv2

    left, top, right, bottom = centre_window(image.shape[0], image.shape[1], height, width, within)
    window = image[top:bottom, left:right]
    if image.dtype == bool:
        resized = cv2.resize(window.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return resized.astype(bool)
    factor = min(window.shape[0] // height, window.shape[1] // width)
    if factor > 1:
        size = window.shape[1] // factor, window.shape[0] // factor
        window = cv2.resize(window, size, interpolation=cv2.INTER_AREA)
    larger = height > window.shape[0]
    return cv2.resize(window, (width, height), interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_LINEAR)
