"""Masks: which pixels of a picture, or of each frame of a clip, belong to the subject.

One rule holds for pictures, folders, animations and videos, and for a source of masks as a whole:

- Where its transparency tells pixels apart in any of its frames, the subject is what is at least half opaque.
- Else its values do: the strongest of a pixel's colours, or the number in a picture of 16 bits. The subject is what has
  at least half of the full value. In pictures saved without loss it is all but 0 where the values are labels: where
  they do not reach half, or where flat regions lie between 0 and half (a soft edge has none). In a palette of
  colours, black and number 255 (void, in DAVIS and Pascal VOC) are the background, all else is the subject.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture
from magdiff_jax.media.pairing import check_gaps, pair
from magdiff_jax.media.readers import Reader, open_reader
from magdiff_jax.media.video import choose, pictures_in_order

# Half of 8 bits: a mask saved with loss keeps its edge. It is that of transparency too.
_HALF = 128
# Frames that are looked at for what a source of masks means: decoding all of a long one would take long.
_LOOKED_AT = 16


class MaskReader:
    """The masks of a source of frames, from a source of their own.

    Attributes:
        reader: of the masks.
        by_alpha: whether their transparency tells where the subject is.
        threshold: else the least value of the subject.
    """

    def __init__(self, reader: Reader, size: tuple[int, int], stored_size: tuple[int, int] | None = None):
        """
        Args:
            reader: of the masks; frames from all over it are looked at for what they mean.
            size: height and width of the frames that they mask.
            stored_size: of these in stored pixels, at which many programs make masks; None for `size`.

        Raises:
            UserError: the masks are of another size, or cannot be decoded.
        """
        self.reader, self._size = reader, size
        if reader.size not in (size, stored_size):
            raise UserError(
                f"{reader.path} is {reader.size[1]}x{reader.size[0]} but the frames it masks are {size[1]}x{size[0]}: "
                "make both the same size"
            )
        length = len(reader.timeline.times)
        some = min(length, _LOOKED_AT)
        looked_at = {index * length // some for index in range(some)}
        self.by_alpha, self.threshold = _meaning(picture for _, picture in reader.read(looked_at))

    def mask(self, picture: Picture) -> Bool[np.ndarray, "height width"]:
        """The subject in one picture of the masks, at the size of the frames."""
        import cv2

        mask = _subject(picture, self.by_alpha, self.threshold)
        if mask.shape == self._size:
            return mask
        height, width = self._size
        return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)


def read_masks(
    path: str | Path,
    frames: int,
    height: int,
    width: int,
    start: int = 0,
    stride: int = 1,
    video: str | Path | None = None,
) -> Bool[np.ndarray, "{frames} {height} {width}"]:
    """Reads a mask per frame; True is the subject, as this module says.

    `path` is one picture, which then serves all frames, or a folder of pictures, an animation or
    a video. `video` is what they mask, with which they are paired as `pairing.pair` says; where it is not given, frames
    of the masks are picked as `read_video` does.

    Raises:
        UserError: as `read_video` does, a frame has no mask, or the masks are not `width` x `height`.
    """
    shown = None if video is None else open_reader(Path(video))
    if shown is not None:
        chosen: Sequence[int] = choose(shown, frames, start, stride)
        return np.stack(list(masks_in_order(path, shown, chosen)))
    reader = open_reader(Path(path))
    if reader.is_still:
        chosen = [0] * frames
    else:
        check_gaps(reader)
        chosen = choose(reader, frames, start, stride)
    return np.stack(list(_masks(MaskReader(reader, (height, width)), chosen)))


def masks_in_order(
    path: str | Path, video: Reader, frames: Sequence[int]
) -> Iterator[Bool[np.ndarray, "_height _width"]]:
    """The masks of some frames of a video, which ascend, one after the other. See `read_masks`."""
    reader = open_reader(Path(path))
    chosen = pair(video, reader, frames)
    return _masks(MaskReader(reader, video.size, video.stored_size), chosen)


def _masks(source: MaskReader, chosen: Sequence[int]) -> Iterator[Bool[np.ndarray, "_height _width"]]:
    """Warns at the end where there was no subject in any."""
    is_empty, least, most = True, np.inf, 0
    for picture in pictures_in_order(source.reader, chosen):
        mask = source.mask(picture)
        if is_empty and not source.by_alpha:
            values = _values(picture)
            least, most = min(least, int(values.min())), max(most, int(values.max()))
        is_empty = is_empty and not mask.any()
        yield mask
    if is_empty:
        told = f"its values are {least} to {most}, and the subject's would be {source.threshold} or more"
        what = "its transparency is below one half" if source.by_alpha else told
        warnings.warn(f"{source.reader.path} has no subject: {what}", stacklevel=2)


def picture_mask(picture: Picture) -> Bool[np.ndarray, "height width"]:
    """The subject in a mask that is one picture."""
    return _subject(picture, *_meaning([picture]))


def _subject(picture: Picture, by_alpha: bool, threshold: int) -> Bool[np.ndarray, "height width"]:
    if by_alpha:
        return np.full(picture.rgb.shape[:2], True) if picture.alpha is None else picture.alpha >= _HALF
    return _values(picture) >= threshold


def alpha_mask(picture: Picture) -> Bool[np.ndarray, "height width"] | None:
    """Returns the mask that transparency gives; None without it, or where it is constant."""
    if picture.alpha is None or picture.alpha.min() == picture.alpha.max():
        return None
    return picture.alpha >= _HALF


def _meaning(pictures: Iterable[Picture]) -> tuple[bool, int]:
    """Whether the transparency is the mask, and else the least value of the subject."""
    most, is_exact, is_deep, has_flats, alphas = 0, True, False, False, set()
    for picture in pictures:
        if picture.alpha is not None:
            alphas |= {int(picture.alpha.min()), int(picture.alpha.max())}
            if len(alphas) > 1:
                return True, _HALF
        values = _values(picture)
        most, is_exact = max(most, int(values.max())), is_exact and picture.is_exact
        is_deep = is_deep or values.dtype == np.uint16
        has_flats = has_flats or _has_flats(values)
    if alphas == {0}:
        return True, _HALF
    half = _HALF * 256 if is_deep and most > 255 else _HALF
    is_labels = is_exact and (has_flats or most < half)
    return False, 1 if is_labels else half


def _values(picture: Picture) -> np.ndarray:
    """What a picture says of each pixel, [height, width], in 8 or 16 bits."""
    return picture.rgb.max(axis=-1) if picture.values is None else picture.values


def _has_flats(values: np.ndarray) -> bool:
    """Whether most of what lies between 0 and half is amid its like, as labels are and the steps of an edge are not."""
    half = _HALF * 256 if values.max() > 255 else _HALF
    between = (values > 0) & (values < half)
    inner = values[1:-1, 1:-1]
    amid = between[1:-1, 1:-1]
    for other in (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:]):
        amid = amid & (other == inner)
    return bool(2 * amid.sum() > between.sum())


def whole_frame_if_empty(
    masks: Bool[np.ndarray, "frame height width"], quiet: bool = False
) -> Bool[np.ndarray, "frame height width"]:
    """Returns the masks with empty ones filled: a null mask means the whole frame. Warns of it unless `quiet`."""
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if not len(empty):
        return masks
    if not quiet:
        numbers = ", ".join(str(index) for index in empty)
        warnings.warn(f"empty mask in frame {numbers}: the whole frame is taken as the subject", stacklevel=2)
    filled = masks.copy()
    filled[empty] = True
    return filled
