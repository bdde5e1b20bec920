"""Contact sheets: one picture that shows people what went in and what came out."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from magdiff_jax.media.images import fit, subject_window
from magdiff_jax.media.lettering import Lettering

_COLUMNS = 8
_MOST_FRAMES = 2 * _COLUMNS
# Frames are shown at their own height within these bounds, in pixels.
_LEAST_HEIGHT, _MOST_HEIGHT = 128, 256
_MARGIN, _GAP, _GROUP_GAP, _LABEL_HEIGHT = 24, 6, 20, 24
_TITLE_SIZE, _TITLE_LINES, _LABEL_SIZE = 24, 2, 15
# More than fit on any line.
_MOST_CHARACTERS = 1000
_PAPER, _INK, _QUIET_INK, _OUTLINE = (250, 250, 248), (32, 33, 36), (110, 112, 116), (255, 0, 160)


@dataclass(frozen=True)
class _Cell:
    """A picture at its place on the sheet, with a label above it."""

    left: int
    top: int
    pixels: UInt8[np.ndarray, "height width 3"]
    label: str


def contact_sheet(
    reference: UInt8[np.ndarray, "*clip height width 3"] | None,
    masks: Bool[np.ndarray, "*clip height width"] | None,
    frames: UInt8[np.ndarray, "frame frame_height frame_width 3"],
    title: str = "",
    numbers: Sequence[int] | None = None,
    extent: Bool[np.ndarray, "height width"] | None = None,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Draws inputs and results on one sheet, under `title` (cut after two lines; see `Lettering` for its scripts).

    Generation (`reference` is one picture): the reference, the subject its mask cuts out, and the
    frames; without a subject (None) the frames alone. Editing (a clip): the source frames with the
    outline of their masks, the subjects cut out, and the frames below each other. Lines break after
    8 frames. Subjects are shown as the model is given them: in the part of the picture that has the
    frames' proportions. Where some frames of a longer clip are shown, `numbers` are theirs in it, and
    `extent` is where its subject is in any frame.
    """
    if reference is None or masks is None:
        cells = _frames(frames, _MARGIN)
    elif reference.ndim == 3:
        cells = _generation(reference, masks, frames)
    else:
        cells = _editing(
            reference,
            masks,
            frames,
            range(len(frames)) if numbers is None else numbers,
            masks if extent is None else extent[None],
        )
    width = max(cell.left + cell.pixels.shape[1] for cell in cells) + _MARGIN
    lettering = Lettering(_TITLE_SIZE)
    lines = _wrap(title, lettering, width - 2 * _MARGIN)
    line_height = round(1.4 * _TITLE_SIZE)
    head = _MARGIN + (len(lines) * line_height + _MARGIN // 2 if lines else 0)
    height = head + max(cell.top + cell.pixels.shape[0] for cell in cells) + _MARGIN

    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, line in enumerate(lines):
        lettering.draw(draw, _MARGIN, _MARGIN + round(0.8 * _TITLE_SIZE) + index * line_height, line, _INK)
    label_font = ImageFont.load_default(_LABEL_SIZE)
    for cell in cells:
        baseline = (cell.left, head + cell.top - 6)
        draw.text(baseline, cell.label, _QUIET_INK, label_font, anchor="ls")
        sheet.paste(Image.fromarray(cell.pixels), (cell.left, head + cell.top))
    return np.array(sheet)


def frames_shown(length: int) -> list[int]:
    """Which frames of a clip a sheet shows: all, or some evenly from the first to the last."""
    return np.linspace(0, length - 1, min(length, _MOST_FRAMES)).round().astype(int).tolist()


def _generation(
    reference: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    frames: UInt8[np.ndarray, "frame frame_height frame_width 3"],
) -> list[_Cell]:
    height = _shown_height(frames)
    left = _MARGIN
    cells = []
    (subject,) = _given(reference[None], mask[None], frames, height, mask[None])
    for label, image in (("reference", _scale(reference, height)), ("subject", subject)):
        cells.append(_Cell(left, _LABEL_HEIGHT, image, label))
        left += cells[-1].pixels.shape[1] + _GAP
    return cells + _frames(frames, left + _GROUP_GAP - _GAP)


def _frames(frames: UInt8[np.ndarray, "frame frame_height frame_width 3"], left: int) -> list[_Cell]:
    height = _shown_height(frames)
    cells = []
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
    numbers: Sequence[int],
    around: Bool[np.ndarray, "_frame height width"],
) -> list[_Cell]:
    height = _shown_height(frames)
    cells, subjects = [], _given(source, masks, frames, height, around)
    for index, frame in enumerate(frames):
        row, column = divmod(index, _COLUMNS)
        shown = (
            ("source", outlined(_scale(source[index], height), _scale(masks[index], height))),
            ("subject", subjects[index]),
            ("result", _scale(frame, height)),
        )
        column_width = max(pixels.shape[1] for _, pixels in shown) + _GAP
        group_height = len(shown) * (height + _GAP + _LABEL_HEIGHT) + _GROUP_GAP
        for line, (label, pixels) in enumerate(shown):
            top = row * group_height + line * (height + _GAP + _LABEL_HEIGHT) + _LABEL_HEIGHT
            cells.append(_Cell(_MARGIN + column * column_width, top, pixels, f"{label} {numbers[index]}"))
    return cells


def _shown_height(frames: UInt8[np.ndarray, "frame height width 3"]) -> int:
    return min(max(frames.shape[1], _LEAST_HEIGHT), _MOST_HEIGHT)


def _scale(
    image: UInt8[np.ndarray, "h w 3"] | Bool[np.ndarray, "h w"], height: int
) -> UInt8[np.ndarray, "{height} new_w 3"] | Bool[np.ndarray, "{height} new_w"]:
    """Scales to a height, keeping the proportions."""
    return fit(image, height, max(1, round(image.shape[1] * height / image.shape[0])))


def _given(
    source: UInt8[np.ndarray, "clip height width 3"],
    masks: Bool[np.ndarray, "clip height width"],
    frames: UInt8[np.ndarray, "frame frame_height frame_width 3"],
    height: int,
    around: Bool[np.ndarray, "_frame height width"],
) -> list[UInt8[np.ndarray, "{height} new_width 3"]]:
    """The subjects as the model is given them, at the proportions of the frames and in the part with all masks."""
    window = subject_window(around, *frames.shape[1:3])
    size = height, max(1, round(frames.shape[2] * height / frames.shape[1]))
    return [
        np.where(fit(mask, *size, window)[..., None], fit(picture, *size, window), np.uint8(0))
        for picture, mask in zip(source, masks, strict=True)
    ]


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


def _wrap(text: str, lettering: Lettering, width: int) -> list[str]:
    """Breaks text into at most `_TITLE_LINES` lines, between words where they fit, the last one cut with "…"."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < _TITLE_LINES:
        end = _fitting(rest, lettering, width)
        if len(lines) + 1 == _TITLE_LINES and end < len(rest):
            return [*lines, rest[: _fitting(rest, lettering, width, "…")].rstrip(" …") + "…"]
        space = rest.rfind(" ", 0, end + 1) if end < len(rest) else -1
        lines.append(rest[: space if space > 0 else end])
        rest = rest[len(lines[-1]) :].lstrip()
    return lines


def _fitting(text: str, lettering: Lettering, width: int, end: str = "") -> int:
    """How many of a text's characters fit into a width with `end` after them; at least one."""
    most = min(len(text), _MOST_CHARACTERS)
    too_long = bisect_left(range(1, most + 1), True, key=lambda count: lettering.width(text[:count] + end) > width)
    return max(1, too_long)
