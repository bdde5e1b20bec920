"""The cases: even, unseen, the same in every run and at every size."""

from collections import Counter

import numpy as np

from magdiff_jax.data.emoji.backgrounds import COLOURS, TEXTURES
from magdiff_jax.data.emoji.motions import MOTIONS
from magdiff_jax.data.emoji.subjects import split_of
from magdiff_jax.evaluation.cases import REFERENCES, cases


def test_motions_colours_and_textures_are_even() -> None:
    samples = [case.clip.sample for case in cases(216, 32)]
    assert Counter(sample.path.motion for sample in samples) == dict.fromkeys(MOTIONS, 24)
    assert Counter(sample.background.colour for sample in samples) == dict.fromkeys(COLOURS, 18)
    assert Counter(sample.background.texture for sample in samples) == dict.fromkeys(TEXTURES, 36)
    assert max(Counter(sample.subject.code for sample in samples).values()) <= 4


def test_a_few_cases_are_the_first_of_many_at_any_size() -> None:
    few, many = cases(20, 64), cases(40, 32)
    assert [(case.number, case.codes) for case in few] == [(case.number, case.codes) for case in many[:20]]
    assert [case.clip.info.caption for case in few] == [case.clip.info.caption for case in many[:20]]
    assert [case.number for case in cases(20, 32, seed=1)] != [case.number for case in few]


def test_references_are_unseen_and_the_first_is_the_subject() -> None:
    for case in cases(20, 32):
        assert case.codes[0] == case.clip.sample.subject.code
        assert len(set(case.codes)) == REFERENCES
        assert {split_of(code) for code in case.codes} == {"test"}


def test_an_edit_is_the_clip_over_another_colour() -> None:
    for case in cases(20, 32):
        clip, edit = case.clip.sample, case.edit.sample
        assert (edit.subject, edit.path) == (clip.subject, clip.path)
        assert edit.background.colour != clip.background.colour
        np.testing.assert_array_equal(case.clip.masks(range(8)), case.edit.masks(range(8)))
