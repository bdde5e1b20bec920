"""The plots of a report, as PNG bytes. They are drawn on white; the page inverts them in dark mode."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator

from magdiff_jax.data.clip import CATEGORIES
from magdiff_jax.data.prepare.rules import RulesConfig

# The paper's, also where a data set was made with others or with none.
AREA_LIMITS = (RulesConfig.least_area, RulesConfig.most_area)

_INK, _QUIET, _ACCENT, _PALE = "#2b2f36", "#767d87", "#3d6fb4", "#c6cdd6"
CATEGORY_COLOURS = dict(zip(CATEGORIES, ("#3d6fb4", "#2f9470", "#c9822b", "#767d87"), strict=True))
# Inches; small, so that letters are large beside the bars, also on a phone.
_WIDTH, _HEIGHT = 4.8, 2.4
_MOST_BINS = 30
_MOST_LETTERS = 28
# Matplotlib brings this font, so that plots are the same on every machine.
_FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def caption_lengths(words: Sequence[int]) -> bytes:
    """Histogram of words a caption."""
    low, high = min(words), max(words)
    step = -(-(high - low + 1) // _MOST_BINS)
    figure, axes = _axes("words in the caption", "clips")
    _histogram(axes, words, np.arange(low - 0.5, high + 0.5 + step, step))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return _png(figure)


def durations(seconds: Sequence[float]) -> bytes:
    """Histogram of clips' durations."""
    figure, axes = _axes("seconds", "clips")
    _histogram(axes, seconds, np.linspace(0, max(seconds) or 1, _MOST_BINS + 1))
    return _png(figure)


def subject_areas(areas: Sequence[float]) -> bytes:
    """Histogram of the subjects' shares of the frame, 0 to 1, with the rule's limits; bars outside of them are pale."""
    figure, axes = _axes("subject's share of the frame, %", "clips")
    percent, limits = 100 * np.asarray(areas), 100 * np.asarray(AREA_LIMITS)
    for bar in _histogram(axes, percent, np.linspace(0, 100, 21)):
        if not limits[0] < bar.get_x() + bar.get_width() / 2 < limits[1]:
            bar.set_facecolor(_PALE)
    for limit in limits:
        axes.axvline(limit, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"{limit:.0f} %", (limit, 1), (4, -3), ("data", "axes fraction"), "offset points", va="top", color=_INK
        )
    return _png(figure)


def bars(counts: Mapping[str, int], colours: Mapping[str, str]) -> bytes:
    """Horizontal bars with their counts, from the top in the mapping's order.

    Args:
        counts: name → count; of a name, what the font has is drawn.
        colours: name → colour; the accent for others.
    """
    figure, axes = _axes("clips", "", height=max(_HEIGHT, 0.6 + 0.32 * len(counts)))
    places = range(len(counts))
    drawn = axes.barh(places, list(counts.values()), height=0.62, color=[colours.get(name, _ACCENT) for name in counts])
    axes.bar_label(drawn, [f"{count:,}" for count in counts.values()], padding=4, color=_INK)
    # Without markup: a "$" in a name is no formula.
    axes.set_yticks(places, [_shown(name) for name in counts], parse_math=False)
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return _png(figure)


def word_cloud(labels: Mapping[str, int], colours: Mapping[str, str]) -> tuple[bytes | None, int]:
    """The labels, the more frequent the larger.

    Args:
        labels: label → count.
        colours: label → colour; the accent for others.

    Returns:
        The cloud, the same for the same labels, or None where none can be drawn; and how many labels are missing,
        because the font has not all their letters.
    """
    from wordcloud import WordCloud

    drawable = {label: count for label, count in labels.items() if _has_all(label)}
    words: Counter[str] = Counter()
    for label, count in drawable.items():
        words[_shown(label)] += count
    if not words:
        return None, len(labels)
    shown_colours = {_shown(label): colours[label] for label in drawable if label in colours}

    def colour(word: str, **_: Any) -> str:
        return shown_colours.get(word, _ACCENT)

    cloud = WordCloud(
        font_path=str(_FONT),
        width=800,
        height=300,
        scale=2,
        margin=4,
        max_words=150,
        min_font_size=8,
        max_font_size=72,
        prefer_horizontal=1,
        background_color="white",
        color_func=colour,
        random_state=0,
    ).generate_from_frequencies(words)
    stream = BytesIO()
    cloud.to_image().save(stream, "PNG")
    return stream.getvalue(), len(labels) - len(drawable)


def _axes(xlabel: str, ylabel: str, height: float = _HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), dpi=200, layout="constrained", facecolor="white")
    axes = figure.add_subplot(facecolor="white")
    axes.set_xlabel(xlabel, color=_QUIET)
    axes.set_ylabel(ylabel, color=_QUIET)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_PALE)
    axes.tick_params(length=0, labelcolor=_QUIET)
    axes.grid(axis="both", color="#eceff2")
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure, axes


def _histogram(axes: Axes, values: Any, edges: np.ndarray) -> Any:
    return axes.hist(values, edges.tolist(), color=_ACCENT, rwidth=0.9)[2]


def _png(figure: Figure) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


@cache
def _letters() -> frozenset[int]:
    return frozenset(FT2Font(str(_FONT)).get_charmap())


def _has_all(text: str) -> bool:
    return all(ord(letter) in _letters() for letter in text if not letter.isspace())


def _shown(text: str) -> str:
    """`text` in one short line of letters that the font has."""
    line = "".join(letter if ord(letter) in _letters() else "□" for letter in " ".join(text.split()))
    return line if len(line) <= _MOST_LETTERS else line[: _MOST_LETTERS - 1].rstrip() + "…"
