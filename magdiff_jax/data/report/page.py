"""The page: everything of a report in one HTML file that asks for nothing outside of it."""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jinja2
import numpy as np

from magdiff_jax import __version__
from magdiff_jax.data.clip import CATEGORIES, Clip, Source
from magdiff_jax.data.prepare.store import Rejection
from magdiff_jax.data.report import plots
from magdiff_jax.data.report.about import About
from magdiff_jax.data.report.statistics import ClipFacts, gather
from magdiff_jax.data.report.strips import jpeg, strip
from magdiff_jax.errors import UserError
from magdiff_jax.replacing import check_replaceable, check_writable, replacing

PAGE = "index.html"
_TOP_LABELS = 20
_TOP_SIZES = 5
_TOP_RULES = 12


class Plot(NamedTuple):
    """A plot on the page.

    Attributes:
        name: of its file.
        title: above it.
        png: its bytes; None where there is nothing to draw.
        alt: what it shows, with the main figures.
        note: below it.
    """

    name: str
    title: str
    png: bytes | None
    alt: str
    note: str = ""


def make_report(
    source: Source, out: Path, about: About, rejected: Sequence[Rejection] | None = None, clips: int = 12
) -> Path:
    """Writes a report on all clips of a source: `index.html`, whole in itself, and its plots as PNG files beside it.

    Each clip is looked at once, without decoding it; only those of the contact sheet are decoded. The time goes into
    reading records: 2.7 ms a MB and core where the disk keeps up, so 14 minutes for 76,000 clips of 4 MB.

    Args:
        source: of one clip or more.
        out: folder to write; an older report there is replaced.
        about: the head of the page.
        rejected: what preparation put aside; None where that is not known.
        clips: of the contact sheet, spread evenly over the source.

    Returns:
        The page.

    Raises:
        UserError: the source is empty, `clips` is negative, or `out` cannot be written or holds something else than a
            report.
    """
    check_replaceable(out, PAGE)
    check_writable(out)
    if not len(source):
        raise UserError(f"{about.name} has no clips: there is nothing to report")
    if clips < 0:
        raise UserError(f"--clips {clips}: must be at least 0")
    facts = gather(source)
    drawn = _plots(facts, rejected)
    chosen = np.unique(np.linspace(0, len(source) - 1, min(clips, len(source))).round().astype(int)).tolist()
    page = _template().render(
        about=about,
        tiles=_tiles(facts, rejected),
        facts={**about.facts, "Frame sizes": _sizes(facts), "Frames": f"{sum(fact.frames for fact in facts):,}"},
        plots=drawn,
        labels=_labels(facts).most_common(_TOP_LABELS),
        clip_count=len(facts),
        rules=None if rejected is None else _rules(rejected),
        clips=[_shown(source[index], facts[index]) for index in chosen],
        version=__version__,
    )
    with replacing(out) as new:
        new.mkdir()
        # A caption may hold half a character, which no encoding has.
        (new / PAGE).write_bytes(page.encode("utf-8", "replace"))
        for plot in drawn.values():
            if plot.png is not None:
                (new / f"{plot.name}.png").write_bytes(plot.png)
    return out / PAGE


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    return environment.from_string(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))


def _tiles(facts: list[ClipFacts], rejected: Sequence[Rejection] | None) -> dict[str, str]:
    """The few figures that come first."""
    tiles = {
        "clips": f"{len(facts):,}",
        "total duration": _duration(sum(fact.seconds for fact in facts)),
        "labels": f"{len(_labels(facts)):,}",
        "null masks": f"{sum(fact.area is None for fact in facts):,}",
    }
    return tiles if rejected is None else {**tiles, "put aside": f"{len(rejected):,}"}


def _plots(facts: list[ClipFacts], rejected: Sequence[Rejection] | None) -> dict[str, Plot]:
    words, seconds = [fact.words for fact in facts], [fact.seconds for fact in facts]
    spread = f"Median {median(words):g} words, from {min(words)} to {max(words)}."
    lasting = f"Median {median(seconds):.3g} s, from {min(seconds):.3g} to {max(seconds):.3g}."
    counts = Counter(fact.category for fact in facts)
    categories = {category: counts[category] for category in CATEGORIES}
    drawn = [
        _cloud(facts),
        Plot(
            "categories",
            "Categories",
            plots.bars(categories, plots.CATEGORY_COLOURS),
            f"Bars of clips by category: {_listed(categories)}.",
        ),
        _areas(facts),
        Plot(
            "caption_lengths",
            "Caption lengths",
            plots.caption_lengths(words),
            f"Histogram of words a caption. {spread}",
            spread,
        ),
        Plot("durations", "Durations", plots.durations(seconds), f"Histogram of durations. {lasting}", lasting),
    ]
    if rejected:
        rules = {rule: count for rule, count, _ in _rules(rejected)[:_TOP_RULES]}
        alt = f"Bars of clips put aside, by the {len(rules)} most frequent rules: {_listed(rules)}."
        drawn.append(Plot("rejected", "By rule", plots.bars(rules, {}), alt))
    return {plot.name: plot for plot in drawn}


def _cloud(facts: list[ClipFacts]) -> Plot:
    labels = _labels(facts)
    colours = {fact.label: plots.CATEGORY_COLOURS[fact.category] for fact in reversed(facts)}
    png, missing = plots.word_cloud(labels, colours)
    notes = ["Coloured by category."] if png else ["No label can be drawn."]
    if missing:
        notes.append(f"Labels in letters that the plot's font lacks: {missing:,}, in the table only.")
    unlabelled = len(facts) - labels.total()
    if unlabelled:
        notes.append(f"Clips without a label: {unlabelled:,}.")
    most = _listed(dict(labels.most_common(5)))
    return Plot(
        "labels", "Labels", png, f"Word cloud of {len(labels):,} labels. Most frequent: {most}.", " ".join(notes)
    )


def _areas(facts: list[ClipFacts]) -> Plot:
    areas = [fact.area for fact in facts if fact.area is not None]
    title = "Subject areas"
    if not areas:
        return Plot("subject_areas", title, None, "", "All masks are null: the subject is the whole frame.")
    low, high = plots.AREA_LIMITS
    below, above = sum(area < low for area in areas), sum(area > high for area in areas)
    note = (
        f"Mean over a clip's frames; median {median(areas):.1%}. Clips under {low:.0%}: {below:,}; "
        f"over {high:.0%}: {above:,}."
    )
    null = len(facts) - len(areas)
    if null:
        note += f" Not shown, as their mask is null: {null:,}."
    return Plot("subject_areas", title, plots.subject_areas(areas), f"Histogram of subject areas. {note}", note)


def _labels(facts: list[ClipFacts]) -> Counter[str]:
    return Counter(fact.label for fact in facts if fact.label)


def _rules(rejected: Sequence[Rejection]) -> list[tuple[str, int, Rejection]]:
    """Each rule, the most frequent first, with its count and its first case."""
    first = {rejection.rule: rejection for rejection in reversed(rejected)}
    counts = Counter(rejection.rule for rejection in rejected)
    return [(rule, count, first[rule]) for rule, count in counts.most_common()]


def _sizes(facts: list[ClipFacts]) -> str:
    sizes = Counter(fact.size for fact in facts)
    shown = [f"{width}×{height} ({count:,})" for (width, height), count in sizes.most_common(_TOP_SIZES)]
    others = len(sizes) - len(shown)
    return ", ".join(shown) + (f", and {others:,} others" if others else "")


def _shown(clip: Clip, fact: ClipFacts) -> dict[str, Any]:
    """A clip of the contact sheet; a damaged one has its problem in place of pictures."""
    info = clip.info
    try:
        picture, problem = jpeg(strip(clip)), ""
    except UserError as error:
        picture, problem = None, str(error)
    return {
        "info": info,
        "jpeg": picture,
        "problem": problem,
        "colour": plots.CATEGORY_COLOURS[info.category],
        "area": fact.area,
        "technical": f"{info.width}×{info.height}, {info.length} frames, {fact.seconds:.3g} s, {info.fps:.3g} fps",
        "provenance": json.dumps(info.provenance, ensure_ascii=False, indent=2) if info.provenance else "",
    }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"
