"""The subjects: which drawings, what they are called, and where they are."""

import re
from collections import Counter

import numpy as np

from magdiff_jax.data.clip import CATEGORIES
from magdiff_jax.data.emoji.drawings import Drawings
from magdiff_jax.data.emoji.names import in_sentence
from magdiff_jax.data.emoji.subjects import SPLITS, split_of, subjects


def test_there_are_about_1300_named_subjects() -> None:
    assert 1250 <= len(subjects()) <= 1350
    assert len({subject.code for subject in subjects()}) == len(subjects())
    labels = Counter(subject.label for subject in subjects())
    assert max(labels.values()) == 1
    for label in labels:
        assert re.fullmatch(r"[a-z][a-z.' -]*[a-z]", label), label
        assert not re.search(r"\b(symbol|black (?!bird|cat)|o.?clock|facing up|skin tone|flag of)\b", label), label


def test_labels_and_categories_of_some() -> None:
    known = {subject.code: (subject.label, subject.category) for subject in subjects()}
    assert known["1F98A"] == ("fox", "animal")
    assert known["1F34E"] == ("red apple", "object")
    assert known["1F436"] == ("dog face", "animal")
    assert known["1F415"] == ("dog", "animal")
    assert known["1F63A"] == ("smiling cat face with an open mouth", "animal")
    assert known["1F600"] == ("grinning face", "person")
    assert known["1F468-200D-1F373"] == ("male cook", "person")
    assert known["1F468-200D-1F9BC"] == ("man in a motorized wheelchair", "person")
    assert known["1F332"] == ("evergreen tree", "other")
    assert known["2601"] == ("cloud", "other")
    assert known["1F697"] == ("car", "object")
    assert known["1F52A"] == ("kitchen knife", "object")
    assert known["1F980"] == ("crab", "animal")
    assert {category for _, category in known.values()} == set(CATEGORIES)
    # A flag, a keycap, a clock face, a coloured square, an arrow.
    assert not known.keys() & {"1F1EB-1F1F7", "0031-FE0F-20E3", "1F550", "1F7E5", "27A1"}
    assert not any(tone in code for code in known for tone in ("1F3FB", "1F3FD", "1F3FF"))


def test_splits_share_no_subject() -> None:
    counts = Counter(subject.split for subject in subjects())
    assert set(counts) == set(SPLITS)
    shares = {split: count / len(subjects()) for split, count in counts.items()}
    assert abs(shares["train"] - 0.8) < 0.03
    assert abs(shares["validation"] - 0.1) < 0.03
    for role in ("1F373", "1F680", "2695-FE0F"):
        people = {split_of(f"{person}-200D-{role}") for person in ("1F9D1", "1F468", "1F469")}
        assert len(people) == 1
    assert split_of("1F3C4") == split_of("1F3C4-200D-2640-FE0F")
    # These never change: a model's test subjects must stay unseen.
    assert [split_of(code) for code in ("1F98A", "1F34E", "1F415", "1F697")] == [
        "train",
        "validation",
        "train",
        "train",
    ]


def test_articles_and_numbers() -> None:
    expected = {
        "fox": ("a fox", False),
        "owl": ("an owl", False),
        "unicorn": ("a unicorn", False),
        "european castle": ("a european castle", False),
        "hourglass": ("an hourglass", False),
        "x-ray image": ("an x-ray image", False),
        "grapes": ("some grapes", True),
        "octopus": ("an octopus", False),
        "top hat": ("a top hat", False),
        "nest with eggs": ("a nest with eggs", False),
        "two hearts": ("two hearts", True),
        "fork and knife": ("a fork and knife", True),
        "santa claus": ("santa claus", False),
        "statue of liberty": ("the statue of liberty", False),
        "women with bunny ears": ("some women with bunny ears", True),
    }
    assert {label: tuple(in_sentence(label)) for label in expected} == expected


def test_drawings_are_rendered() -> None:
    drawings = Drawings()
    for subject in subjects()[:: len(subjects()) // 60]:
        outline, sprite = drawings.outline(subject.code), drawings.sprite(subject.code, 40.0)
        assert (sprite.pixels[..., 3] == 255).mean() > 0.03, subject
        assert sprite.longest >= 40
        assert 0 < outline.area < outline.width * outline.height * 1.01
        assert max(outline.width, outline.height) == 1
        assert 0.5 <= outline.radius < 0.75
        # Premultiplied: no colour is stronger than its alpha.
        assert (sprite.pixels[..., :3] <= sprite.pixels[..., 3:]).all()
        assert abs(sum(outline.colours.values()) - 1) < 0.01


def test_a_drawing_is_the_same_whatever_was_drawn_before() -> None:
    fresh, used = Drawings(), Drawings()
    for longest in (200.0, 7.0, 50.0):
        used.sprite("1F98A", longest)
    for longest in (10.0, 20.0, 40.0, 100.0):
        np.testing.assert_array_equal(used.sprite("1F98A", longest).pixels, fresh.sprite("1F98A", longest).pixels)
        assert used.sprite("1F98A", longest)[1:] == fresh.sprite("1F98A", longest)[1:]
