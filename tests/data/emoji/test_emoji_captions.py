"""Captions: every phrasing says subject, motion and background."""

import itertools
import re

import pytest

from magdiff_jax.data.emoji.backgrounds import Background
from magdiff_jax.data.emoji.grammar import PHRASINGS, caption
from magdiff_jax.data.emoji.motions import MOTIONS, Path

_SAID = {
    "left": "left",
    "right": "right",
    "up": r"up|to top",
    "down": r"down|to bottom",
    "grow": r"grow|bigger",
    "shrink": r"shrink|smaller",
    "spin": r"(spin|turn|rotat).* clockwise",
    "bounce": r"(bounc|hop|jump).* up and down",
    "still": r"still|in place|without moving",
}


def _path(motion: str, turn: float = 200.0) -> Path:
    return Path(motion, [0.5, 0.5], [0.5, 0.5], [0.4, 0.4], [0.0, turn])


def _background(colour: str, texture: str, panning: str = "") -> Background:
    return Background(colour, texture, panning, 0.3 if panning else 0.0, 0.2, 0, (0.0, 0.0))


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_phrasing_says_all(motion: str) -> None:
    texts = set()
    for phrasing in itertools.product(*map(range, PHRASINGS)):
        text = caption("fox", _path(motion), _background("orange", "striped", "down"), phrasing)
        assert re.search(r"\ba fox\b", text)
        assert re.search(_SAID[motion], text.removesuffix(" panning down"))
        assert re.search(r"\borange (and )?striped\b", text)
        assert "panning down" in text
        assert "a orange" not in text
        assert not re.search(r"  | ,|[{}]|\ban? an?\b| $", text)
        texts.add(text)
    assert len(texts) == PHRASINGS[0] * PHRASINGS[1]


def test_sentences() -> None:
    green = _background("green", "striped")
    assert (
        caption("red fox", _path("left"), green, (0, 0))
        == "a red fox moves to the left over a green striped background"
    )
    assert (
        caption("grapes", _path("left"), green, (0, 0))
        == "some grapes move to the left over a green striped background"
    )
    plain = _background("orange", "plain")
    assert caption("owl", _path("still"), plain, (3, 0)) == "over a plain orange background, an owl stands still"
    turning = caption("owl", _path("spin", -200), _background("gray", "wavy", "left"), (4, 1))
    assert turning == "an owl turns counterclockwise, and the background is gray and wavy, panning left"
    shrinking = caption("scissors", _path("shrink"), _background("red", "dotted"), (5, 0))
    assert shrinking == "a video of some scissors shrinking in front of a red dotted background"
