"""Contact sheets: one picture that shows people what went in and what came out."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from magdiff_jax.media.images import fit

_COLUMNS = 8
# Frames are shown at their own height within these bounds, in pixels.
_LEAST_HEIGHT, _MOST_HEIGHT = 128, 256
_MARGIN, _GAP, _GROUP_GAP, _LABEL_HEIGHT = 24, 6, 20, 24
_TITLE_SIZE, _TITLE_LINES, _LABEL_SIZE = 24, 2, 15
_PAPER, _INK, _QUIET_INK, _OUTLINE = (250, 250, 248), (32, 33, 36), (110, 112, 116), (255, 0, 160)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class _Cell:
    """A picture at its place on the sheet, with a label above it."""

    left: int
    top: int
    pixels: UInt8[np.ndarray, "height width 3"]
    label: str


def contact_sheet(
    reference: UInt8[np.ndarray, "*clip height width 3"],
    masks: Bool[np.ndarray, "*clip height width"],
    frames: UInt8[np.ndarray, "frame frame_height frame_width 3"],
    title: str = "",
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Draws inputs and results on one sheet, under `title` (cut after two lines).

    Generation (`reference` is one picture): the reference, the subject its mask cuts out, and the
    frames. Editing (a clip): the source frames with the outline of their masks, the subjects cut
    out, and the frames below each other. Lines break after 8 frames.
    """
    cells = _generation(reference, masks, frames) if reference.ndim == 3 else _editing(reference, masks, frames)
    width = max(cell.left + cell.pixels.shape[1] for cell in cells) + _MARGIN
    font = ImageFont.load_default(_TITLE_SIZE)
    lines = _wrap(title, font, width - 2 * _MARGIN)
    line_height = round(1.4 * _TITLE_SIZE)
    head = _MARGIN + (len(lines) * line_height + _MARGIN // 2 if lines else 0)
    height = head + max(cell.top + cell.pixels.shape[0] for cell in cells) + _MARGIN

    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + index * line_height), line, _INK, font, anchor="lt")
    label_font = ImageFont.load_default(_LABEL_SIZE)
    for cell in cells:
        baseline = (cell.left, head + cell.top - 6)
        draw.text(baseline, cell.label, _QUIET_INK, label_font, anchor="ls")
        sheet.paste(Image.fromarray(cell.pixels), (cell.left, head + cell.top))
    return np.array(sheet)


def _generation(
    reference: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    frames: UInt8[np.ndarray, "frame frame_height frame_width 3"],
) -> list[_Cell]:
    height = _shown_height(frames)
    left = _MARGIN
    cells = []
    for label, image in (("reference", reference), ("subject", _cut_out(reference, mask))):
        cells.append(_Cell(left, _LABEL_HEIGHT, _scale(image, height), label))
        left += cells[-1].pixels.shape[1] + _GAP
    left += _GROUP_GAP - _GAP
    for index, frame in enumerate(frames):
        row, column = divmod(index, _COLUMNS)
        pixels = _scale(frame, height)
        cells.append(
            _Cell(
                left + column * (pixels.shape[1] + _GAP),
                _LABEL_HEIGHT + row * (height + _GAP + _LABEL_HEIGHT),
                pixels,
                f"frame {index}",
            )
        )
    return cells


def _editing(
    source: UInt8[np.ndarray, "frame height width 3"],
    masks: Bool[np.ndarray, "frame height width"],
    frames: UInt8[np.ndarray, "frame frame_height frame_width 3"],
) -> list[_Cell]:
    height = _shown_height(frames)
    cells = []
    for index, frame in enumerate(frames):
        row, column = divmod(index, _COLUMNS)
        shown = (
            ("source", outlined(_scale(source[index], height), _scale(masks[index], height))),
            ("subject", _scale(_cut_out(source[index], masks[index]), height)),
            ("result", _scale(frame, height)),
        )
        column_width = max(pixels.shape[1] for _, pixels in shown) + _GAP
        group_height = len(shown) * (height + _GAP + _LABEL_HEIGHT) + _GROUP_GAP
        for line, (label, pixels) in enumerate(shown):
            top = row * group_height + line * (height + _GAP + _LABEL_HEIGHT) + _LABEL_HEIGHT
            cells.append(_Cell(_MARGIN + column * column_width, top, pixels, f"{label} {index}"))
    return cells


def _shown_height(frames: UInt8[np.ndarray, "frame height width 3"]) -> int:
    return min(max(frames.shape[1], _LEAST_HEIGHT), _MOST_HEIGHT)


def _scale(
    image: UInt8[np.ndarray, "h w 3"] | Bool[np.ndarray, "h w"], height: int
) -> UInt8[np.ndarray, "{height} new_w 3"] | Bool[np.ndarray, "{height} new_w"]:
    """Scales to a height, keeping the proportions."""
    return fit(image, height, max(1, round(image.shape[1] * height / image.shape[0])))


def _cut_out(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    return np.where(mask[..., None], image, np.uint8(0))


def outlined(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws the inner edge of the mask, two pixels wide, also where it meets the border."""
    import cv2

    inner = cv2.erode(
        mask.astype(np.uint8),
        np.ones((5, 5), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    edge = mask & (inner == 0)
    return np.where(edge[..., None], np.array(_OUTLINE, np.uint8), image)


def _wrap(text: str, font: _Font, width: int) -> list[str]:
    """Breaks text between words into at most `_TITLE_LINES` lines, the last one cut with "…"."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < _TITLE_LINES:
        count = max(1, _words_that_fit(words, font, width))
        lines.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        lines[-1] += "…"
    return [_shorten(line, font, width) for line in lines]


def _words_that_fit(words: list[str], font: _Font, width: int) -> int:
    count = 0
    while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
        count += 1
    return count


def _shorten(line: str, font: _Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    too_long = bisect_left(range(len(line)), True, key=lambda end: font.getlength(line[:end] + "…") > width)
    return line[: max(0, too_long - 1)].rstrip(" …") + "…"
