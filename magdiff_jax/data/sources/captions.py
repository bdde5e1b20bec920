"""Tables of captions for folders of videos: CSV or JSON lines."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from magdiff_jax.data.clip import CATEGORIES
from magdiff_jax.errors import UserError
from magdiff_jax.media.segment import Box, parse_box
from magdiff_jax.places import Place
from magdiff_jax.text import parse_json, read_lines, read_text


class Row(NamedTuple):
    """What a table says of a video.

    Attributes:
        line: of the table, from 1.
        video: path within the folder of videos, with or without the suffix.
        caption: may be empty.
        label: the subject in a word or a few; may be empty.
        category: one of `clip.CATEGORIES`.
        box: x, y, width, height of the subject in the first frame, in pixels; None where it is not given.
    """

    line: int
    video: str
    caption: str
    label: str
    category: str
    box: Box | None


def read_rows(path: Place) -> list[Row]:
    """The rows of a table with the columns video and caption and perhaps label, category and box ("x,y,width,height").

    A `.csv` file names its columns in the first line; each line of a `.jsonl` file is an object with these keys, where
    a box may also be a list. Other columns are passed over. Text is UTF-8.

    Raises:
        UserError: the file cannot be read, or a line is not so; it is named.
    """
    kinds = {".csv": _csv_lines, ".jsonl": _json_lines}
    if path.suffix.lower() not in kinds:
        raise UserError(f"{path}: captions come in {' or '.join(kinds)} files")
    return [_row(values, line, f"{path} line {line}") for line, values in kinds[path.suffix.lower()](path)]


def _csv_lines(path: Place) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # A cell in quotes may have lines.
    reader = csv.DictReader(io.StringIO(read_text(path)), strict=True)
    try:
        if not {"video", "caption"} <= set(reader.fieldnames or ()):
            raise UserError(f"{path}: its first line must name the columns video and caption")
        for values in reader:
            if None in values or None in values.values():
                raise UserError(
                    f"{path} line {reader.line_num} has more or fewer cells than columns: "
                    "put captions with a comma in quotes"
                )
            yield reader.line_num, values
    except csv.Error as error:
        raise UserError(f"{path} line {reader.reader.line_num}: {error}") from None


def _json_lines(path: Place) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(read_lines(path), 1):
        if not text.strip():
            continue
        values = parse_json(text, f"{path} line {line}")
        if not isinstance(values, dict):
            raise UserError(f"{path} line {line} is no object such as " + '{"video": "a.mp4", "caption": "…"}')
        yield line, values


def _row(values: Mapping[str, Any], line: int, where: str) -> Row:
    texts = {key: values.get(key, "") for key in ("video", "caption", "label", "category")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise UserError(f"{where}: {key} must be text, not {text!r}")
    if not texts["video"]:
        raise UserError(f"{where} names no video")
    if "caption" not in values:
        raise UserError(f'{where} has no caption; an empty one is ""')
    category = texts["category"] or "other"
    if category not in CATEGORIES:
        raise UserError(f"{where}: category {category!r} must be one of {', '.join(CATEGORIES)}")
    return Row(line, texts["video"], texts["caption"], texts["label"], category, _box(values.get("box"), where))


def _box(value: Any, where: str) -> Box | None:
    if value in (None, ""):
        return None
    text = value if isinstance(value, str) else ",".join(map(str, value)) if isinstance(value, list) else repr(value)
    try:
        return parse_box(text)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
