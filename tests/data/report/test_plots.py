from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from magdiff_jax.data.report import plots

BLUE, GREEN = "#3d6fb4", "#2f9470"


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(BytesIO(png))
    assert image.format == "PNG"
    return np.array(image.convert("RGB"))


def area(png: bytes, colour: str) -> int:
    """How many pixels have nearly this colour."""
    wanted = np.array(to_rgb(colour)) * 255
    return int((np.abs(pixels(png) - wanted).max(axis=-1) < 3).sum())


@pytest.mark.parametrize("values", [[7], [0], [0, 0, 3], list(range(500)), [3] * 1000])
def test_histograms_draw_any_values(values):
    for png in (plots.caption_lengths(values), plots.durations([float(value) for value in values])):
        assert area(png, BLUE) > 500


def test_equal_bars_have_equal_areas_and_a_count_twice_as_high_twice_the_area():
    once, both = area(plots.bars({"a": 1, "b": 2}, {"a": GREEN}), GREEN), plots.bars({"a": 1, "b": 2}, {"b": GREEN})
    assert area(both, GREEN) == pytest.approx(2 * once, rel=0.02)


def test_areas_outside_of_the_rule_are_pale():
    assert area(plots.subject_areas([0.01, 0.04, 0.61, 0.99, 1.0, 0.0]), BLUE) == 0
    inside = area(plots.subject_areas([0.06, 0.59]), BLUE)
    assert 0 < area(plots.subject_areas([0.06, 0.61]), BLUE) < inside


@pytest.mark.parametrize("name", ["$x_1$", "$", "a\nb", "猫 🐈", "x" * 500, "\ud800", "", "_hidden", "ünter 5 %"])
def test_bars_take_any_name(name):
    assert area(plots.bars({name: 3, "other rule": 1}, {}), BLUE) > 500


def test_a_cloud_has_the_labels_colours_and_is_the_same_each_time():
    labels = {"dog": 5, "cat": 3, "long label " * 40: 2, "$x$": 1}
    first, missing = plots.word_cloud(labels, {"dog": GREEN})
    assert missing == 0
    assert area(first, GREEN) > 500
    assert area(first, BLUE) > 500
    assert plots.word_cloud(labels, {"dog": GREEN}) == (first, 0)


def test_labels_that_the_font_lacks_are_counted_not_drawn():
    with_cat, missing = plots.word_cloud({"猫": 9, "dog": 1}, {})
    assert missing == 1
    assert with_cat == plots.word_cloud({"dog": 1}, {})[0]
    assert plots.word_cloud({"猫": 9, "兔": 1}, {}) == (None, 2)
    assert plots.word_cloud({}, {}) == (None, 0)
    assert plots.word_cloud({"собака": 1, "çiçek": 1}, {})[1] == 0
