"""What a record says of its clip, checked as a whole when it is opened: it may come from anyone, or be damaged."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from magdiff_jax.data.clip import CATEGORIES, ClipInfo
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import MAX_CLIP_PIXELS, MAX_PIXELS
from magdiff_jax.text import parse_json

FIELDS = {
    *("id", "source", "frames", "masks", "areas", "size", "fps"),
    *("caption", "augmented_caption", "label", "category", "provenance"),
}


def read_info(values: Mapping[str, Any]) -> ClipInfo:
    """A clip's description from the fields of its record, which are `tf.train.Feature`s.

    Raises:
        UserError: a field is missing, empty, of another type or number of values, or no value that a clip may have.
    """
    if lacking := sorted(FIELDS - set(values)):
        raise UserError(f"a record lacks {', '.join(lacking)}: it is none of clips, or of another version")
    name = "a record"
    try:
        id = _text(values, "id")
        if not id:
            raise ValueError("its id is empty")
        name = f"record {id[:100]!r}"
        return _checked_info(values, id)
    except ValueError as error:
        raise UserError(f"{name} is damaged: {error}; write the records again") from None


def check_pixels(length: int, height: int, width: int) -> None:
    """Raises ValueError where a record does not hold so many frames of this size in pixels."""
    if min(length, height, width) < 1:
        raise ValueError(f"it has {length} frames of {width}x{height}")
    if height * width > MAX_PIXELS or length * height * width > MAX_CLIP_PIXELS:
        raise ValueError(
            f"its frames, {length} of {width}x{height}, have over {MAX_PIXELS / 1e6:.0f} megapixels each or "
            f"{MAX_CLIP_PIXELS / 1e6:.0f} together"
        )


def _checked_info(values: Mapping[str, Any], id: str) -> ClipInfo:
    frames, masks = (values[name].bytes_list.value for name in ("frames", "masks"))
    height, width = _values(values["size"].int64_list.value, "size", 2)
    check_pixels(len(frames), height, width)
    if len(masks) not in (0, len(frames)):
        raise ValueError(f"it has {len(masks)} masks for {len(frames)} frames")
    areas = _values(values["areas"].float_list.value, "areas", len(masks))
    if not all(0 <= area <= 1 for area in areas):  # so is none that is no number
        raise ValueError("its areas are not all from 0 to 1")
    (fps,) = _values(values["fps"].float_list.value, "fps", 1)
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"its fps is {fps}")
    (category,) = _values(values["category"].int64_list.value, "category", 1)
    if not 0 <= category < len(CATEGORIES):
        raise ValueError(f"its category is {category}, and there are 0 to {len(CATEGORIES) - 1}")
    return ClipInfo(
        id=id,
        source=_text(values, "source"),
        length=len(frames),
        height=height,
        width=width,
        fps=fps,
        caption=_text(values, "caption"),
        augmented_caption=_text(values, "augmented_caption"),
        label=_text(values, "label"),
        category=CATEGORIES[category],
        provenance=_provenance(values),
    )


def _provenance(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        provenance = parse_json(_text(values, "provenance"), "its provenance")
    except UserError as error:
        raise ValueError(str(error)) from None
    if not isinstance(provenance, dict):
        raise ValueError("its provenance is no JSON object")
    return provenance


def _text(values: Mapping[str, Any], name: str) -> str:
    (text,) = _values(values[name].bytes_list.value, name, 1)
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError(f"its {name} is no UTF-8 text") from None


def _values(found: Sequence[Any], name: str, wanted: int) -> Sequence[Any]:
    """The values of a field, of which there must be so many; of another type there are none."""
    if len(found) != wanted:
        raise ValueError(f"its {name} has {len(found)} values, not {wanted}")
    return found
