"""What a report counts: one look at each clip, without decoding it, and the clips that preparation put aside."""

from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from magdiff_jax.data.clip import Clip, Source, mean_area
from magdiff_jax.data.prepare.store import Rejection
from magdiff_jax.errors import UserError
from magdiff_jax.text import parse_json, read_lines


class ClipFacts(NamedTuple):
    """What counts of one clip.

    Attributes:
        words: of the caption, as white space separates them.
        category: one of `clip.CATEGORIES`.
        label: the subject; may be empty.
        seconds: duration; 0 where the clip has no rate.
        size: width and height in pixels.
        frames: how many.
        area: the subject's share of the frame, 0 to 1, mean over all frames; None for a null mask.
    """

    words: int
    category: str
    label: str
    seconds: float
    size: tuple[int, int]
    frames: int
    area: float | None


def gather(source: Source) -> list[ClipFacts]:
    """The facts of every clip, in the source's order, with a progress bar on a terminal."""
    indices = tqdm(range(len(source)), desc="reading", unit="clip", disable=None)
    return [_facts(source[index]) for index in indices]


def _facts(clip: Clip) -> ClipFacts:
    info, areas = clip.info, clip.areas()
    return ClipFacts(
        words=len(info.caption.split()),
        category=info.category,
        label=info.label,
        seconds=info.length / info.fps if info.fps > 0 else 0.0,
        size=(info.width, info.height),
        frames=info.length,
        area=None if areas is None else mean_area(areas),
    )


def read_rejected(path: Path, split: str) -> list[Rejection]:
    """Reads what preparation put aside of a split: of a `rejected.jsonl`, a JSON object a line.

    Raises:
        UserError: it cannot be read, or a line is something else.
    """
    lines = read_lines(path)
    if lines[-1] == "":
        lines.pop()
    rejections = [_rejection(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    return [rejection for rejection in rejections if rejection.split == split]


def _rejection(line: str, place: str) -> Rejection:
    try:
        entry = parse_json(line, place)
        return Rejection(*(str(entry[key]) for key in Rejection._fields))
    except (UserError, TypeError, KeyError) as error:
        keys = ", ".join(f'"{key}"' for key in Rejection._fields)
        raise UserError(f"{place}: must be a JSON object with {keys}") from error
