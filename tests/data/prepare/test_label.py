from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from magdiff_jax.data.clip import CATEGORIES
from magdiff_jax.data.prepare.label import (
    OWN_WORDS,
    Choice,
    augment,
    category_of,
    clean_answer,
    read_words,
    select_label,
)
from magdiff_jax.data.prepare.nouns import SpacyNouns
from magdiff_jax.data.prepare.similarity import SentenceSimilarity
from magdiff_jax.errors import UserError

WORDS = ("animal", "dog", "car")
# Similarities to WORDS, chosen so that the results can be worked out by hand.
SCORES = {
    "dog": (0.7, 1.0, 0.1),
    "puppy": (0.6, 0.8, 0.1),
    "whelp": (0.6, 0.8, 0.1),
    "van": (0.1, 0.1, 0.8),
    "park": (0.2, 0.1, 0.3),
    "thing": (0.5, 0.2, 0.5),
    "almost a dog": (0.1, 0.8000004, 0.1),
}


class Table:
    """Similarities read from `SCORES`, in the precision of a network's."""

    name = "table"

    def __call__(self, texts: Sequence[str], others: Sequence[str]) -> Float[np.ndarray, "text other"]:
        assert tuple(others) == WORDS
        return np.array([SCORES[text] for text in texts], np.float32)


def choose(answer: str, nouns: Sequence[str], threshold: float) -> Choice:
    return select_label(answer, nouns, WORDS, Table(), threshold)


def test_the_answer_is_the_label_where_it_is_near_enough():
    choice = choose("A puppy.", ["van", "park"], 0.7)
    assert choice == Choice("puppy", "answer", "dog", 0.8, 0.8)
    assert choice.score == 0.8


@pytest.mark.parametrize(("threshold", "chosen_by"), [(0.79999, "answer"), (0.8, "noun"), (0.80001, "noun")])
def test_the_threshold_has_to_be_exceeded(threshold: float, chosen_by: str):
    assert choose("puppy", ["park"], threshold).chosen_by == chosen_by


def test_the_threshold_is_met_in_spite_of_rounding():
    assert choose("almost a dog", ["park"], 0.8).chosen_by == "noun"


def test_without_a_near_answer_the_nearest_noun_is_the_label():
    choice = choose("a thing", ["park", "van", "thing"], 0.5)
    assert choice == Choice("van", "noun", "car", 0.5, 0.8)
    assert choice.score == 0.8


def test_a_noun_needs_no_threshold():
    assert choose("thing", ["park"], 0.9) == Choice("park", "noun", "car", 0.5, 0.3)


@pytest.mark.parametrize("nouns", [["puppy", "whelp", "van"], ["whelp", "puppy", "van"], ["van", "puppy", "whelp"]])
def test_of_equally_near_nouns_the_first_wins(nouns: list[str]):
    assert choose("", ["park", *nouns], 0.5).label == nouns[0]


def test_noise_in_the_last_digits_breaks_no_tie():
    assert choose("", ["puppy", "almost a dog"], 0.5).label == "puppy"


def test_of_equally_near_words_the_first_wins():
    assert choose("thing", [], 0.4).word == "animal"


def test_without_nouns():
    assert choose("puppy", [], 0.5) == Choice("puppy", "answer", "dog", 0.8, None)
    assert choose("thing", [], 0.5) == Choice(None, None, None, 0.5, None)


@pytest.mark.parametrize("answer", ["", "  ", "The.", "It is"])
def test_without_an_answer(answer: str):
    assert choose(answer, ["park", "dog"], 0.5) == Choice("dog", "noun", "dog", None, 1.0)
    assert choose(answer, [], 0.5) == Choice(None, None, None, None, None)
    assert choose(answer, [], 0.5).score is None


@pytest.mark.parametrize(
    ("answer", "subject"),
    [
        ("dog", "dog"),
        ("a brown dog", "brown dog"),
        ("  An  Owl!\n", "owl"),
        ("The foreground is a dog.", "dog"),
        ("The fore-ground of the picture is a dog", "dog"),
        ("the foreground in the image shows two dogs", "two dogs"),
        ("In the foreground, there is a woman with a hat.", "woman with a hat"),
        ("it is a cat", "cat"),
        ("It's a cat. It sleeps.", "cat"),
        ("it’s a café", "café"),
        ("there are horses", "horses"),
        ("Answer: a red car", "red car"),
        ("a dog is in the foreground", "dog"),
        ("a dog in the foreground of the picture.", "dog"),
        ("dog running in the grass", "dog running in the grass"),
        ("a girl\nshe has a kite", "girl"),
        ('"theatre"', "theatre"),
        ("another dog", "another dog"),
        ("itinerary", "itinerary"),
        ("the foreground", "foreground"),
        ("ein Hündchen", "ein hündchen"),
        ("猫", "猫"),
    ],
)
def test_answers_are_cleaned(answer: str, subject: str):
    assert clean_answer(answer) == subject
    assert clean_answer(subject) == subject


def test_the_category_is_that_of_the_nearest_word():
    words = {"animal": "animal", "dog": "animal", "car": "object"}
    assert category_of(choose("puppy", [], 0.5), words, 0.8) == "animal"
    assert category_of(choose("puppy", [], 0.5), words, 0.81) == "other"
    assert category_of(choose("", ["van"], 0.5), words, 0.4) == "object"
    assert category_of(choose("", [], 0.5), words, -1.0) == "other"


@pytest.mark.parametrize(
    ("caption", "label", "augmented"),
    [
        ("A dog runs on the beach", "dog", "A dog runs on the beach, dog"),
        ("A dog runs on the beach.\n", "dog", "A dog runs on the beach, dog"),
        ("Look at that!? ", "brown dog", "Look at that, brown dog"),
        ("A walk with a dog", "dog", "A walk with a dog, dog"),
        ("", "dog", "dog"),
        (" … ", "dog", "dog"),
        ("A dog runs.", "", "A dog runs"),
        ("猫が歩く。", "猫", "猫が歩く, 猫"),
    ],
)
def test_the_label_is_appended(caption: str, label: str, augmented: str):
    assert augment(caption, label) == augmented


def test_the_list_that_comes_with_the_project():
    words = read_words(OWN_WORDS)
    assert 250 <= len(words) <= 350
    assert set(words.values()) == set(CATEGORIES)
    assert next(iter(words)) == "person"
    assert [words[word] for word in ("woman", "dog", "boat", "pizza", "flower")] == [
        *("person", "animal", "object", "object", "other")
    ]


def test_words_are_read_in_order(tmp_path: Path):
    file = tmp_path / "words.txt"
    file.write_text("\ufeff# mine\n\n[Animal]\r\n  Dog \n# more\npolar   bear\n[ object ]\ncafé\n", encoding="utf-8")
    assert list(read_words(file).items()) == [("dog", "animal"), ("polar bear", "animal"), ("café", "object")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[animals]\ndog\n", r"words\.txt, line 1: unknown category \[animals\]; name one of person, animal, "),
        (b"# mine\ndog\n[animal]\n", r"words\.txt, line 2: 'dog' stands above the first category"),
        (b"[animal]\ndog\ncat\n[object]\nDog\n", r"words\.txt, line 5: 'dog' is there already, as animal"),
        (b"[animal]\n# none\n", r"words\.txt holds no words"),
        (b"", r"words\.txt holds no words"),
        (b"[animal]\nd\xffg\n", r"words\.txt is no UTF-8 text \(byte 10\)"),
    ],
)
def test_mistakes_in_a_list_are_named(text: bytes, message: str, tmp_path: Path):
    (tmp_path / "words.txt").write_bytes(text)
    with pytest.raises(UserError, match=message):
        read_words(tmp_path / "words.txt")


def test_a_list_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="No such file"):
        read_words(tmp_path / "words.txt")
    with pytest.raises(UserError, match="directory"):
        read_words(tmp_path)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("answer", "caption", "label", "chosen_by", "category"),
    [
        ("a brown dog", "A brown dog runs on the beach", "brown dog", "answer", "animal"),
        ("The foreground is a woman.", "a person outside", "woman", "answer", "person"),
        ("a rabbit", "A big bunny gets out of its burrow", "rabbit", "answer", "animal"),
        ("a blue background", "A surgeon talks in a corridor", "surgeon", "noun", "person"),
        ("", "Two cyclists ride bikes past parked cars", "cyclist", "noun", "person"),
        ("", "Slow motion of waves at a beach", "wave", "noun", "other"),
        ("nothing", "🐕 A labrador called Müsli in a basket", "labrador", "noun", "animal"),
    ],
)
def test_real_answers_and_captions(
    answer: str,
    caption: str,
    label: str,
    chosen_by: str,
    category: str,
    spacy_nouns: SpacyNouns,
    minilm: SentenceSimilarity,
):
    words = read_words(OWN_WORDS)
    choice = select_label(answer, spacy_nouns.nouns(caption), tuple(words), minilm, 0.55)
    assert (choice.label, choice.chosen_by) == (label, chosen_by)
    assert category_of(choice, words, 0.4) == category
