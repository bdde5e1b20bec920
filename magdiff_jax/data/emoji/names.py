"""What the drawings are called: Unicode's names made into the words that a caption would use."""

import re
from typing import NamedTuple

from magdiff_jax.data.emoji.renamed import RENAMED

# Applied in this order to a name in lower case.
_RULES = (
    (r"^banknote with (\w+) sign$", r"\1 banknote"),
    (r" (sign|symbol)$", ""),
    (r"^(man|woman): beard$", r"\1 with beard"),
    (r"^(man|woman|person): bald$", r"bald \1"),
    (r"^(man|woman|person): (.+)$", r"\1 with \2"),
    # "walking man" and "male cook", but "man with a veil" and "man playing handball".
    (r"^(person|men|women|man|woman) (\w+ing)$", r"\2 \1"),
    (r"^(?:(wo)|)man (?!with|in\b|and|on\b|\w+ing\b)", lambda match: "female " if match[1] else "male "),
    (r"^(wo|)mans ", r"\1man's "),
    (r" in lotus position$", " in the lotus position"),
)
# Up to the next "and": "with open mouth and smiling eyes" lacks one article.
_ATTRIBUTE = re.compile(r"\b(with|without|in|wearing|behind|feeding) ((?!(?:an?|the|one|two|three)\b).+?)(?= and |$)")
_NO_ARTICLE = {"hair", "rain", "snow", "lightning", "sand", "joy", "bed", "text"}
# Where the letter misleads; "suv" and "x-ray" are said letter by letter.
_A, _AN = ("unicorn", "one-", "euro"), ("hourglass", "x-ray", "suv")

# What ends the head of a label: "nest" of "nest with eggs".
_HEAD_END = re.compile(
    r" (?:with|without|of|in|on|showing|facing|holding|fluttering|covering|playing|lifting|licking|making) "
)
_SINGULAR_IN_S = ("ss", "us", "rhinoceros", "claus")
_PLURAL = ("people", "men", "women")
_NAMES = {"santa claus": "", "mrs. claus": "", "mount fuji": "", "tokyo tower": ""}
_NAMES |= {"statue of liberty": "the ", "kaaba": "the "}


class Words(NamedTuple):
    """A label in a sentence: "a fox" (singular), "some grapes" (plural)."""

    phrase: str
    plural: bool


def article(words: str) -> str:
    """The article "a" or "an", as the sound of the first word asks."""
    vowel = words[0] in "aeiou"
    return "an" if (vowel and not words.startswith(_A)) or words.startswith(_AN) else "a"


def label_of(name: str) -> str:
    """The label of a drawing with this Unicode name."""
    if name in RENAMED:
        return RENAMED[name]
    label = name.lower()
    for pattern, replacement in _RULES:
        label = re.sub(pattern, replacement, label)  # type: ignore[call-overload]
    return _ATTRIBUTE.sub(_with_article, label)


def in_sentence(label: str) -> Words:
    """The label with its article, and its number."""
    head = _HEAD_END.split(label)[0]
    if " and " in head:
        return Words(f"{article(label)} {label}", plural=True)
    if label in _NAMES:
        return Words(_NAMES[label] + label, plural=False)
    if head.split()[-1] in _PLURAL or (head.endswith("s") and not head.endswith(_SINGULAR_IN_S)):
        return Words(label if head.startswith("two ") else f"some {label}", plural=True)
    return Words(f"{article(label)} {label}", plural=False)


def _with_article(match: re.Match[str]) -> str:
    preposition, words = match.groups()
    last = words.split()[-1]
    return match[0] if last.endswith("s") or last in _NO_ARTICLE else f"{preposition} {article(words)} {words}"
