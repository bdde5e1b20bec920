"""Captions: a small grammar with several ways to say the same."""

from typing import NamedTuple

from magdiff_jax.data.emoji.backgrounds import Background
from magdiff_jax.data.emoji.motions import Path
from magdiff_jax.data.emoji.names import article, in_sentence


class _Verb(NamedTuple):
    """A verb with what follows it: "moves", "move" or "moving", then "to the left"."""

    singular: str
    plural: str
    participle: str
    rest: str


_MOVE, _SLIDE = ("moves", "move", "moving"), ("slides", "slide", "sliding")
_GROW, _SHRINK, _GET = ("grows", "grow", "growing"), ("shrinks", "shrink", "shrinking"), ("gets", "get", "getting")
_SPIN, _TURN, _ROTATE = ("spins", "spin", "spinning"), ("turns", "turn", "turning"), ("rotates", "rotate", "rotating")
_BOUNCE, _HOP, _JUMP = ("bounces", "bounce", "bouncing"), ("hops", "hop", "hopping"), ("jumps", "jump", "jumping")
_STAND, _STAY, _REST = ("stands", "stand", "standing"), ("stays", "stay", "staying"), ("rests", "rest", "resting")
_RISE, _FALL = ("rises", "rise", "rising"), ("sinks", "sink", "sinking")

# Three for each motion; a spin's direction is filled in.
_VERBS = {
    "left": (_Verb(*_MOVE, "to the left"), _Verb(*_SLIDE, "left"), _Verb(*_MOVE, "from right to left")),
    "right": (_Verb(*_MOVE, "to the right"), _Verb(*_SLIDE, "right"), _Verb(*_MOVE, "from left to right")),
    "up": (_Verb(*_MOVE, "up"), _Verb(*_RISE, "upwards"), _Verb(*_SLIDE, "from bottom to top")),
    "down": (_Verb(*_MOVE, "down"), _Verb(*_FALL, "downwards"), _Verb(*_SLIDE, "from top to bottom")),
    "grow": (_Verb(*_GROW, "larger"), _Verb(*_GET, "bigger"), _Verb(*_GROW, "in size")),
    "shrink": (_Verb(*_SHRINK, ""), _Verb(*_GET, "smaller"), _Verb(*_SHRINK, "in size")),
    "spin": (_Verb(*_SPIN, "{direction}"), _Verb(*_TURN, "{direction}"), _Verb(*_ROTATE, "{direction}")),
    "bounce": (_Verb(*_BOUNCE, "up and down"), _Verb(*_HOP, "up and down"), _Verb(*_JUMP, "up and down")),
    "still": (_Verb(*_STAND, "still"), _Verb(*_STAY, "in place"), _Verb(*_REST, "without moving")),
}
_TEMPLATES = (
    "{subject} {verb} over {background}",
    "{subject} {verb} in front of {background}",
    "{subject} {participle} over {background}",
    "over {background}, {subject} {verb}",
    "{subject} {verb}, and the background is {look}",
    "a video of {subject} {participle} in front of {background}",
)
PHRASINGS = (len(_TEMPLATES), len(next(iter(_VERBS.values()))))


def caption(label: str, path: Path, background: Background, phrasing: tuple[int, int]) -> str:
    """What the clip shows, in a sentence.

    Args:
        label: of the subject.
        path: its motion.
        background: its colour, texture and panning.
        phrasing: which template and which verb, below `PHRASINGS`.
    """
    words = in_sentence(label)
    verb = _VERBS[path.motion][phrasing[1]]
    # On a screen, whose y axis points down, angles grow clockwise.
    rest = verb.rest.format(direction="clockwise" if path.angle[-1] > 0 else "counterclockwise")
    panning = f" panning {background.panning}" if background.panning else ""
    colour, texture = background.colour, background.texture
    # As one says "a plain green background" but "a green striped background".
    look = f"plain {colour}" if texture == "plain" else f"{colour} {texture}"
    return _TEMPLATES[phrasing[0]].format(
        subject=words.phrase,
        verb=f"{verb.plural if words.plural else verb.singular} {rest}".strip(),
        participle=f"{verb.participle} {rest}".strip(),
        background=f"{article(look)} {look} background{panning}",
        look=f"{colour} and {texture}{',' if panning else ''}{panning}",
    )
