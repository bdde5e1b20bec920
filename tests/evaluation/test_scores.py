"""The metrics on clips of which the answer is known: the truth, other cases' truths, and corruptions in degrees."""

from collections.abc import Callable

import numpy as np
import pytest

from magdiff_jax.evaluation.cases import Case, cases
from magdiff_jax.evaluation.scores import Score, score_edit, score_generation, unexplained
from magdiff_jax.evaluation.summary import summarise
from tests.evaluation.corruptions import blotch, blur, coarsen, fade, mild, noise, replace

ALL = range(8)
CHANCE = {
    "identity/pixels": 1 / 50,
    "nearer/pixels": 1 / 2,
    "motion": 1 / 9,
    "colour": 1 / 12,
    "texture": 1 / 6,
    "background": 1 / 72,
}


def truth(case: Case) -> np.ndarray:
    return case.clip.frames(ALL)


def means(scores: list[Score]) -> dict[str, float]:
    return {figure.name: figure.mean for figure in summarise(scores)}


def generated(some: list[Case], make: Callable[[Case], np.ndarray] = truth) -> dict[str, float]:
    return means([score_generation(case, make(case)) for case in some])


@pytest.mark.parametrize("size", [32, 64])
def test_the_truth_is_right(size: int) -> None:
    """At 32 pixels one in 100 may be wrong: a paperclip of 10 x 3 pixels is not seen to shrink."""
    figures = generated(cases(108, size))
    # Of growing and shrinking subjects, resampled from few pixels, no two pictures are quite the same.
    assert figures.pop("consistency/pixels") >= 0.97
    assert min(figures.values()) >= (0.99 if size == 32 else 1), figures


@pytest.mark.parametrize("size", [32, 64])
def test_the_true_edit_is_right(size: int) -> None:
    figures = means([score_edit(case, case.edit.frames(ALL)) for case in cases(12, size)])
    assert figures.pop("track_error") == 0
    assert figures.pop("psnr") == pytest.approx(58.9, abs=0.1)
    assert min(figures.values()) >= 0.9, figures  # one of 12 may be wrong


def test_slight_errors_are_forgiven() -> None:
    figures = generated(cases(45, 32), lambda case: mild(truth(case), case.number))
    assert min(figures.values()) >= 0.95, figures


def test_a_blotchy_clip_still_has_its_subject() -> None:
    figures = generated(cases(27, 32), lambda case: blotch(truth(case), 18, case.number))
    assert min(figures[name] for name in ("identity/pixels", "motion", "background")) >= 0.9, figures


def test_other_clips_are_as_right_as_chance() -> None:
    some = cases(54, 32)
    others = dict(zip((case.number for case in some), some[1:] + some[:1], strict=True))
    figures = generated(some, lambda case: truth(others[case.number]))
    for name, chance in CHANCE.items():
        # Three standard deviations; neighbours avoid each other's motions, so that it may be less.
        assert figures[name] <= chance + 3 * np.sqrt(chance * (1 - chance) / len(some)), (name, figures)


@pytest.mark.quick
def test_the_mean_colour_explains_nothing_and_the_truth_everything() -> None:
    some = cases(6, 32)
    frames = np.stack([truth(case) for case in some])
    masks = np.stack([case.clip.masks(ALL) for case in some])
    assert unexplained(frames, frames, masks).tolist() == [0] * 8
    flat = np.broadcast_to(frames[masks].mean(axis=0).round().astype(np.uint8), frames.shape)
    by_frame = unexplained(flat, frames, masks)
    assert np.average(by_frame, weights=masks.sum(axis=(0, 2, 3))) == pytest.approx(1, abs=1e-3)
    last = frames.copy()
    last[:, 7] = flat[:, 7]  # the subject is lost in the last frame alone
    assert unexplained(last, frames, masks).tolist() == [*[0] * 7, by_frame[7]]


@pytest.mark.quick
def test_an_empty_clip_has_no_subject() -> None:
    case = cases(1, 32)[0]
    background = np.full((8, 32, 32, 3), (52, 98, 210), np.uint8)
    score = score_generation(case, background)
    assert score.ranks["pixels"] == 49
    assert score.seen == {"motion": "still", "colour": "blue", "texture": "plain", "panning": ""}
    assert score.figures["consistency/pixels"] == 0


@pytest.mark.parametrize(
    ("corrupt", "degrees", "names"),
    [
        (lambda case, sigma: blur(truth(case), sigma), (0, 1.5, 4), ("identity/pixels", "texture", "background")),
        (lambda case, sigma: noise(truth(case), sigma), (0, 40, 120), ("identity/pixels", "motion", "texture")),
        (lambda case, k: coarsen(truth(case), k), (1, 4, 8), ("identity/pixels", "texture", "background")),
        (
            lambda case, share: fade(truth(case), case.clip.alphas(ALL), share),
            (0, 0.7, 1),
            ("identity/pixels", "nearer/pixels"),
        ),
    ],
    ids=["blur", "noise", "coarse", "faded"],
)
def test_the_worse_the_less_right(corrupt: Callable, degrees: tuple[float, ...], names: tuple[str, ...]) -> None:
    some = cases(12, 32)
    figures = [generated(some, lambda case, degree=degree: corrupt(case, degree)) for degree in degrees]
    for name in names:
        values = [each[name] for each in figures]
        assert sorted(values, reverse=True) == values, (name, values)
        assert values[0] >= 0.9, (name, values)
        assert values[-1] <= values[0] - 0.15, (name, values)


def test_a_subject_replaced_part_by_part_becomes_another() -> None:
    some = cases(12, 32)
    others = dict(zip((case.number for case in some), some[1:] + some[:1], strict=True))

    def make(case: Case, share: float) -> np.ndarray:
        return replace(truth(case), case.clip.masks(ALL), truth(others[case.number]), share)

    values = [generated(some, lambda case, share=share: make(case, share))["identity/pixels"] for share in (0, 0.5, 1)]
    assert sorted(values, reverse=True) == values
    assert values[0] >= 0.9
    assert values[-1] <= 0.5  # its outline is still its own


def test_edits_lose_decibels_and_track() -> None:
    some = cases(9, 32)
    degrees = [
        means([score_edit(case, np.roll(blur(case.edit.frames(ALL), sigma), pixels, axis=2)) for case in some])
        for sigma, pixels in ((0, 0), (0.7, 0), (0.7, 1), (0.7, 2))
    ]
    decibels, errors = ([figures[name] for figures in degrees] for name in ("psnr", "track_error"))
    assert sorted(decibels, reverse=True) == decibels
    assert errors[1] < 0.3
    assert errors[2:] == pytest.approx([1, 2], abs=0.3)
