"""The cases of the suite: unseen subjects of EmojiMotion, with motions, colours and textures evenly drawn."""

from collections import Counter
from itertools import count as from_zero
from typing import NamedTuple

import numpy as np

from magdiff_jax.data.emoji import EmojiClip, EmojiMotion
from magdiff_jax.data.emoji.backgrounds import COLOURS, TEXTURES
from magdiff_jax.data.emoji.motions import MOTIONS
from magdiff_jax.data.emoji.source import EDIT
from magdiff_jax.data.emoji.subjects import subjects

SPLIT = "test"
# The subject's own drawing and 49 others: chance is 1 in 50.
REFERENCES = 50
# Far more clips than are ever looked at.
_LENGTH = 1_000_000


class Case(NamedTuple):
    """What a model is asked, and the exact truth about it.

    Generation is given the subject of `clip` and its caption; editing the frames and masks of `clip`, and the caption
    of `edit`.

    Attributes:
        number: the index of both clips in their splits.
        clip: of the split "test".
        edit: the same subject on the same course over a background of another colour.
        codes: of 50 unseen drawings, the subject's first; the others in random order.
    """

    number: int
    clip: EmojiClip
    edit: EmojiClip
    codes: tuple[str, ...]


def cases(count: int = 216, size: int = 64, seed: int = 0) -> list[Case]:
    """The first `count` cases for square clips of 8 frames of `size` pixels, the same at every size.

    They are the split's clips in order, but for those that would bring a motion, colour or texture in again before all
    others have come as often: the first 9, and every 9 after them, have all motions, every 12 all colours, every 6
    all textures. No subject comes a second time before half as many cases as there are subjects.
    """
    clips, edits = (EmojiMotion(split, _LENGTH, size, seed=seed) for split in (SPLIT, EDIT))
    unseen = [subject.code for subject in subjects() if subject.split == SPLIT]
    taken: list[Case] = []
    seen: Counter[str] = Counter()
    for index in from_zero():
        if len(taken) == count:
            return taken
        sample, done = clips.sample(index), len(taken)
        features = {
            f"motion {sample.path.motion}": done // len(MOTIONS),
            f"colour {sample.background.colour}": done // len(COLOURS),
            f"texture {sample.background.texture}": done // len(TEXTURES),
            f"subject {sample.subject.code}": 2 * done // len(unseen),
        }
        if all(seen[feature] <= most for feature, most in features.items()):
            seen.update(features.keys())
            taken.append(Case(index, clips[index], edits[index], _references(sample.subject.code, unseen, seed, index)))
    raise AssertionError("there is no end of clips")


def _references(own: str, unseen: list[str], seed: int, index: int) -> tuple[str, ...]:
    others = [code for code in unseen if code != own]
    return own, *np.random.default_rng((seed, index)).permutation(others)[: REFERENCES - 1].tolist()
