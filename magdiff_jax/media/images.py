"""Pictures: read them safely, write them atomically, fit them to a size."""

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from magdiff_jax.errors import UserError, refusals_told
from magdiff_jax.media.durations import KINDS, stated_durations
from magdiff_jax.media.formats import pillow_format
from magdiff_jax.replacing import replacing

# Just under the size at which Pillow itself warns of a decompression bomb.
MAX_PIXELS = 89_000_000
# Of all frames of a clip together: 10,000 of 512x512, or a minute of full HD. An animation is drawn from its start for
# any of its frames, and a file of a kilobyte may have frames that take minutes.
MAX_CLIP_PIXELS = 3_000_000_000

# Named one by one because some of Pillow's other readers start programs or only read headers.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
# left, top, right, bottom in pixels; right and bottom are the first ones outside.
Window = tuple[int, int, int, int]

# Where several pictures are one animation. Elsewhere they are pages, or what a telephone stores beside a photo.
_ANIMATED = {"GIF", "PNG", "WEBP", "AVIF"}
_LOSSY = {"JPEG", "MPO", "WEBP", "AVIF", "HEIF"}
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


@dataclass(frozen=True)
class Picture:
    """A picture in sRGB.

    Attributes:
        rgb: its colours.
        alpha: 255 is opaque; None where the file has no transparency.
        values: what the file says of each pixel where the colours do not tell: of 16 bits the whole number; in a
            palette of colours 0 for black and for number 255, else 1. None elsewhere.
        is_exact: whether it was saved without loss.
    """

    rgb: UInt8[np.ndarray, "height width 3"]
    alpha: UInt8[np.ndarray, "height width"] | None
    values: UInt8[np.ndarray, "height width"] | UInt16[np.ndarray, "height width"] | None = None
    is_exact: bool = False


def read_image(path: str | Path) -> Picture:
    """Reads a picture, upright, in sRGB as its profile says; of an animated file, the first frame.

    16-bit values are scaled to 8 bits; colours under transparent pixels are kept as they are.

    Raises:
        UserError: the file is missing, a folder, not a picture, damaged, over `MAX_PIXELS`, or an animation over
            `MAX_CLIP_PIXELS`.
    """
    _, picture = next(read_animation(path, {0}))
    return picture


def read_animation(path: str | Path, frames: Collection[int]) -> Iterator[tuple[int, Picture]]:
    """Yields these frames of a picture file with their numbers, ascending; a still has frame 0.

    Raises:
        UserError: as `read_image` does, when the frame concerned is reached, or it is of another size than the first.
    """
    with _opened(Path(path)) as image:
        first, size = _frames_of(image).start, image.size
        for index in range(max(frames, default=-1) + 1):
            image.seek(first + index)
            # GIF's may be larger than its header says: what is drawn stays within what was checked.
            if image.size != size:
                raise ValueError(f"it has frames of {size[0]}x{size[1]} and of {image.width}x{image.height}")
            if index in frames:
                image.load()
                yield index, _to_picture(image)


def frame_durations(path: str | Path) -> list[Fraction]:
    """For how many seconds each frame of a picture file is shown, 0 for a still. Of these kinds AVIF alone is decoded.

    Raises:
        UserError: as `read_image` does, or the file is cut short.
    """
    path = Path(path)
    with _opened(path) as image:
        frames = _frames_of(image)
        if len(frames) == 1:
            return [Fraction(0)]
        if image.format not in KINDS:
            return [_duration(image, index) for index in frames]
        durations = stated_durations(path, image.format)
        if len(durations) != len(frames):
            raise ValueError(f"it is cut short or damaged: {len(durations)} of its {len(frames)} frames are there")
        return durations


def _duration(image: Image.Image, index: int) -> Fraction:
    image.seek(index)
    image.load()
    return Fraction(image.info.get("duration") or 0) / 1000


def picture_size(path: Path) -> tuple[int, int]:
    """Returns height and width, upright, mostly without decoding. Raises UserError as `read_image` does."""
    with _opened(path) as image:
        if image.format == "PNG":
            image.load()  # how it is turned may be said after the pixels
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
        # Of a TIFF Pillow gives the upright size.
        return (image.width, image.height) if turned and image.format != "TIFF" else (image.height, image.width)


def _frames_of(image: Image.Image) -> range:
    """The numbers of `_all_frames`. Raises ValueError where they are over `MAX_CLIP_PIXELS`."""
    frames, (width, height) = _all_frames(image), image.size
    if len(frames) * width * height > MAX_CLIP_PIXELS:
        raise ValueError(
            f"its {len(frames)} frames of {width}x{height} have over {MAX_CLIP_PIXELS / 1e6:.0f} megapixels together; "
            "make it shorter or smaller"
        )
    return frames


def _all_frames(image: Image.Image) -> range:
    """The frames of an animation, or the one picture: without previews, pages, and stills for old readers (APNG)."""
    if image.format not in _ANIMATED or not getattr(image, "is_animated", False):
        return range(1)
    return range(1 if image.info.get("default_image") else 0, image.n_frames)  # type: ignore[attr-defined]


def _formats(path: Path) -> tuple[str, ...]:
    """In which formats Pillow is to read a file. Raises UserError for a picture in one that is not read."""
    other = pillow_format(path)
    return _FORMATS if other is None else (other,)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with refusals_told():
        if path.is_dir():
            raise UserError(f"{path} is a folder: name one picture in it")
        if not path.exists():
            raise UserError(f"{path} does not exist: check the path")
        formats = _formats(path)
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except _BOMBS as error:
        raise UserError(f"{path} has over {MAX_PIXELS / 1e6:.0f} megapixels: make it smaller") from error
    except UnidentifiedImageError as error:
        read = ", ".join(_FORMATS)
        raise UserError(f"{path} cannot be read as a picture: it is none of {read}; save it as PNG or JPEG") from error
    # Pillow's decoders answer damaged files with a dozen kinds of exception.
    except Exception as error:
        raise UserError(f"{path} cannot be read as a picture: {error}") from error


def count_frames(path: Path) -> int:
    """Returns how many frames a picture file holds: 1 for a still, 0 when it is no picture."""
    try:
        with Image.open(path, formats=_formats(path)) as image:
            return len(_all_frames(image))
    except (*_BOMBS, UserError):
        return 1
    except Exception:
        return 0


def _to_picture(image: Image.Image) -> Picture:
    is_exact = image.format not in _LOSSY
    is_still = not getattr(image, "is_animated", False)
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values need more than 16 bits; save it with 8 or 16 bits")
        # The high byte, which is also what Pillow keeps of 16-bit colour.
        gray = (values >> 8).astype(np.uint8)
        return Picture(np.stack([gray] * 3, axis=-1), None, values.astype(np.uint16), is_exact)
    labels = _labels(image) if is_exact and is_still and image.mode == "P" else None
    image = _to_srgb(image)
    if image.has_transparency_data:
        rgba = np.array(image.convert("RGBA"))
        return Picture(rgba[..., :3], rgba[..., 3], labels, is_exact)
    return Picture(np.array(image.convert("RGB")), None, labels, is_exact)


def _labels(image: Image.Image) -> UInt8[np.ndarray, "height width"] | None:
    """1 where a picture with a palette of colours has an object: not black, and not number 255; None for grays."""
    numbers = np.asarray(image)
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    palette = np.pad(palette, ((0, 256), (0, 0)))[:256]
    used = np.unique(numbers)
    if (palette[used] == palette[used][:, :1]).all():
        return None
    is_object = palette.max(axis=1) > 0
    is_object[255] = False
    return is_object[numbers].astype(np.uint8)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Converts by the picture's ICC profile, where it has one that says something else."""
    data = image.info.get("icc_profile")
    if not data:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return image
        opaque, alpha = image, None
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            opaque, alpha = rgba.convert("RGB"), rgba.getchannel("A")
        elif image.mode in ("P", "1"):
            opaque = image.convert("RGB")
        srgb = ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(
            opaque, profile, srgb, ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
        )
        assert shown is not None
        if alpha is not None:
            shown.putalpha(alpha)
        return shown
    except (ImageCms.PyCMSError, OSError):
        return image  # a damaged profile, or one of another kind of colours: viewers pass it by


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


def subject_window(masks: Bool[np.ndarray, "frame height width"], target_height: int, target_width: int) -> Window:
    """The largest window of the target's proportions that shows the subject of all frames.

    It is the one in the middle, moved no further than it must be; where the subject is larger, it has its middle.
    """
    height, width = masks.shape[1:]
    left, top, right, bottom = centre_window(height, width, target_height, target_width)
    rows, columns = np.flatnonzero(masks.any(axis=(0, 2))), np.flatnonzero(masks.any(axis=(0, 1)))
    if not len(rows):
        return left, top, right, bottom
    right_by, down_by = _move(left, right, width, columns), _move(top, bottom, height, rows)
    return left + right_by, top + down_by, right + right_by, bottom + down_by


def _move(start: int, end: int, side: int, marked: np.ndarray) -> int:
    """How far a window of one side, from `start` to `end`, is to be moved so that it shows what is marked."""
    first, after = int(marked.min()), int(marked.max()) + 1
    size = end - start
    wanted = (first + after - size) // 2 if after - first >= size else min(max(start, after - size), first)
    return min(max(wanted, 0), side - size) - start


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
    left, top, right, bottom = centre_window(image.shape[0], image.shape[1], height, width, within)
    return stretch(image[top:bottom, left:right], height, width)


def stretch(
    image: UInt8[np.ndarray, "old_height old_width 3"] | Bool[np.ndarray, "old_height old_width"],
    height: int,
    width: int,
) -> UInt8[np.ndarray, "{height} {width} 3"] | Bool[np.ndarray, "{height} {width}"]:
    """Resizes as `fit` does, without regard to the proportions."""
    import cv2

    if image.dtype == bool:
        resized = cv2.resize(image.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return resized.astype(bool)
    factor = min(image.shape[0] // height, image.shape[1] // width)
    if factor > 1:
        size = image.shape[1] // factor, image.shape[0] // factor
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    larger = height > image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_LINEAR)
