"""The subject's label: Algorithm 1 of the supplement (section C), its list of words W, and what follows from it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from magdiff_jax.data.clip import CATEGORIES
from magdiff_jax.data.prepare.stages import Similarity
from magdiff_jax.errors import UserError
from magdiff_jax.places import place
from magdiff_jax.text import read_lines

OWN_WORDS = Path(__file__).with_name("subject_words.txt")

# The list W: each word's category, in the order of the file.
SubjectWords = Mapping[str, str]

# What answers say before and after the subject: they repeat the question.
_PICTURE = r"(?:picture|image|photo|photograph|video|scene)"
_FOREGROUND = rf"(?:the )?fore-?ground(?: (?:of|in) (?:the|this) {_PICTURE})?"
_SAYS = r"(?:is|are|shows?|has|features|contains|consists of)"
_BEFORE = re.compile(
    rf"^(?:answer: ?)?(?:(?:in )?{_FOREGROUND}(?:,|:)? (?:there )?{_SAYS} |(?:it|this|that|there)(?: is| are|'s) )?"
    r"(?:(?:an?|the) )?"
)
_AFTER = re.compile(rf"(?: (?:is|are))? in {_FOREGROUND}$")


class Choice(NamedTuple):
    """What Algorithm 1 chose, and why.

    Attributes:
        label: the subject; None where there is neither an answer near enough nor a noun.
        chosen_by: "answer" or "noun"; None without a label.
        word: the word of W that is nearest to the label; None without a label.
        answer_score: the greatest similarity of the answer to a word of W, -1 to 1; None without an answer.
        noun_score: the greatest similarity of a noun to a word of W, -1 to 1; None without nouns.
    """

    label: str | None
    chosen_by: str | None
    word: str | None
    answer_score: float | None
    noun_score: float | None

    @property
    def score(self) -> float | None:
        """The similarity of `label` and `word`, -1 to 1; None without a label."""
        return self.answer_score if self.chosen_by == "answer" else self.noun_score


def select_label(
    answer: str, nouns: Sequence[str], words: Sequence[str], similarity: Similarity, threshold: int | float
) -> Choice:
    """Algorithm 1: the answer where it is near to a word of W, else the noun that is nearest to one.

    Both the label and what is compared are the answer as `clean_answer` gives it. Of nouns that are equally near (to
    five digits) the first in the caption wins, and of words the first in W.

    Args:
        answer: A, of a model that was asked for the foreground; "" where none was asked.
        nouns: S, of the caption and in its order.
        words: W.
        similarity: of texts.
        threshold: theta; 0.55 suits MiniLM. The answer is taken where its similarity is greater, not where it is equal.
    """
    answer = clean_answer(answer)
    answers = [answer] if answer else []
    if not answers and not nouns:
        return Choice(None, None, None, None, None)
    # Networks repeat themselves to six digits only; what should tie has to tie, and 0.6 is not greater than 0.6.
    scores = similarity([*answers, *nouns], words).astype(np.float64).round(5)
    of_answer, of_nouns = scores[: len(answers)], scores[len(answers) :]
    answer_score = float(of_answer.max()) if answers else None
    noun_score = float(of_nouns.max()) if nouns else None
    if answer_score is not None and answer_score > threshold:
        return Choice(answer, "answer", words[int(of_answer.argmax())], answer_score, noun_score)
    if not nouns:
        return Choice(None, None, None, answer_score, None)
    noun, word = np.unravel_index(of_nouns.argmax(), of_nouns.shape)
    return Choice(nouns[int(noun)], "noun", words[int(word)], answer_score, noun_score)


def clean_answer(answer: str) -> str:
    """The subject that an answer names: "The foreground is a brown dog." is "brown dog".

    Only the first sentence is kept, in lower case, without quotes, final punctuation, the article, and words that
    repeat the question: they would draw the similarity towards pictures and away from the subject, and a label is
    also the prompt of the segmenter and the end of the caption. What it says of the subject stays ("dog running").
    """
    sentence = re.split(r"[.!?](?:\s|$)|\n", answer.strip(), maxsplit=1)[0]
    text = " ".join(sentence.lower().replace("’", "'").split()).strip(" .,;:!?'\"“”")
    return _AFTER.sub("", _BEFORE.sub("", f"{text} ").strip())


def category_of(choice: Choice, words: SubjectWords, least: int | float) -> str:
    """The category of the word of W that is nearest to the label; "other" where their similarity is below `least`."""
    if choice.word is None or choice.score is None or choice.score < least:
        return "other"
    return words[choice.word]


def augment(caption: str, label: str) -> str:
    """The caption with the label appended: "A dog runs." and "dog" give "A dog runs, dog".

    As in the paper the label is appended always, also where the caption ends with it or names it: every caption then
    has one form, and the subject stands in one place of it. An empty caption gives the label, an empty label the
    caption.
    """
    return ", ".join(part for part in (caption.strip().rstrip(" .,;:!?…。"), label.strip()) if part)


def read_words(path: str | Path) -> dict[str, str]:
    """Reads W: the category of each word, in the order of the file; of the one that comes along where `path` is "".

    A line is empty, a comment ("# …"), a category ("[animal]") or a word or short phrase of the category above it.

    Raises:
        UserError: the file cannot be read, holds no word, names an unknown category, has a word above the first
            category, or a word twice.
    """
    words: dict[str, str] = {}
    category = None
    for number, line in enumerate(read_lines(place(path or OWN_WORDS)), 1):
        word = " ".join(line.lower().split())
        if not word or word.startswith("#"):
            continue
        if word.startswith("["):
            category = word.strip("[] ")
            if category not in CATEGORIES:
                raise UserError(f"{path}, line {number}: unknown category {word}; name one of {', '.join(CATEGORIES)}")
        elif category is None:
            raise UserError(f"{path}, line {number}: {word!r} stands above the first category, such as [animal]")
        elif word in words:
            raise UserError(f"{path}, line {number}: {word!r} is there already, as {words[word]}; remove one of them")
        else:
            words[word] = category
    if not words:
        raise UserError(f"{path} holds no words: write a category such as [animal] and words under it")
    return words
