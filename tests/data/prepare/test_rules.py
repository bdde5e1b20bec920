import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import subject_areas
from magdiff_jax.data.prepare.label import Choice
from magdiff_jax.data.prepare.rules import RulesConfig, check_area, check_label, check_short_side
from magdiff_jax.data.prepare.stages import Rejected

RULES = RulesConfig()


def areas_of(*pixels: int, side: int = 100) -> np.ndarray:
    """Areas of masks of side x side pixels, of which so many are the subject's."""
    masks = np.zeros((len(pixels), side * side), bool)
    for mask, count in zip(masks, pixels, strict=True):
        mask[:count] = True
    return subject_areas(masks.reshape(len(pixels), side, side))


def choice(label: str | None, score: float | None = 0.9) -> Choice:
    return Choice(label, "answer", "dog", score, None)


@pytest.mark.parametrize(("height", "width"), [(512, 512), (512, 2000), (2000, 512), (1080, 1920)])
def test_a_short_side_of_512_is_kept(height: int, width: int):
    check_short_side(height, width, RULES.short_side)


@pytest.mark.parametrize(("height", "width"), [(511, 511), (511, 2000), (2000, 511), (1, 1)])
def test_a_short_side_of_511_is_not(height: int, width: int):
    with pytest.raises(Rejected, match=f"{width}x{height} pixels: the short side is under 512") as caught:
        check_short_side(height, width, RULES.short_side)
    assert caught.value.rule == "short_side"


@pytest.mark.parametrize(
    "pixels",
    [(500,), (500,) * 7, (6000,), (6000,) * 7, (501,), (5999,), (0, 1000), (10000, 2000), (499, 501), (10000, 0, 0)],
)
def test_areas_from_5_to_60_percent_are_kept(pixels: tuple[int, ...]):
    check_area(areas_of(*pixels), RULES.least_area, RULES.most_area)


@pytest.mark.parametrize(
    ("pixels", "side"), [((499,), "under 5.0%"), ((6001,), "over 60.0%"), ((0,), "under"), ((10000,), "over")]
)
@pytest.mark.parametrize("frames", [1, 7])
def test_areas_outside_are_not(pixels: tuple[int, ...], side: str, frames: int):
    with pytest.raises(Rejected, match=side) as caught:
        check_area(areas_of(*pixels * frames), RULES.least_area, RULES.most_area)
    assert caught.value.rule == "area"


def test_one_pixel_of_a_large_frame_decides():
    # 5 % of 1000 x 1000 pixels in all of three frames but for one pixel of one of them.
    check_area(areas_of(50_000, 50_000, 50_000, side=1000), 0.05, 0.6)
    with pytest.raises(Rejected, match=r"covers 4\.99997% of the frame: under 5"):
        check_area(areas_of(50_000, 49_999, 50_000, side=1000), 0.05, 0.6)


@pytest.mark.parametrize("label", ["dog", "brown dog", "thing on a table", "猫", "background singer", "4x4 car"])
def test_labels_with_a_meaning_are_kept(label: str):
    check_label(choice(label), RULES.vague, RULES.least_similarity)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "no label"),
        ("", "no letters"),
        ("123", "no letters"),
        ("🐕 !", "no letters"),
        ("thing", "vague"),
        ("the background", "vague"),
        ("A Picture", "vague"),
        ("close-up", "vague"),
    ],
)
def test_labels_without_a_clear_meaning_are_not(label: str | None, reason: str):
    with pytest.raises(Rejected, match=reason) as caught:
        check_label(choice(label), RULES.vague, RULES.least_similarity)
    assert caught.value.rule == "label"


def test_labels_far_from_all_words_are_not_kept():
    check_label(choice("dog", 0.35), RULES.vague, 0.35)
    with pytest.raises(Rejected, match=r"'zeitgeist' is far from all subject words: 0\.349 to 'dog', under 0\.35"):
        check_label(choice("zeitgeist", 0.349), RULES.vague, 0.35)
    with pytest.raises(Rejected, match="no label"):
        check_label(Choice(None, None, None, 0.5, None), RULES.vague, 0.35)


@pytest.mark.parametrize(
    "values",
    [
        {"short_side": 0},
        {"least_area": -0.1},
        {"least_area": 0.7},
        {"most_area": 1.1},
        {"least_similarity": 2},
        {"sort_side": 512},
    ],
)
def test_impossible_rules_are_refused(values: dict):
    with pytest.raises(ConfigError, match=next(iter(values)).replace("least_area", "most_area|least_area")):
        RulesConfig.from_dict(values)
