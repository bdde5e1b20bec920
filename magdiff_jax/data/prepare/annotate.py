"""The stages that a clip goes through, one after the other: each takes a clip and gives it back with more known of it.

A stage loads its models when the first clip needs them. Stages of one process whose configs name the same models have
them in common, and the last of these stages lets go of them. What a stage found, and by which model, it writes into the
clip's provenance.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from magdiff_jax.data.clip import DecodedClip, subject_areas
from magdiff_jax.data.prepare import stages
from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.label import augment, category_of, select_label
from magdiff_jax.data.prepare.rules import check_area, check_label
from magdiff_jax.data.prepare.shared import once
from magdiff_jax.data.prepare.stages import Rejected
from magdiff_jax.errors import UserError
from magdiff_jax.media.segment import check_box

Stage = Callable[[DecodedClip], DecodedClip]


class Ask:
    """The captioner's answer on frame 0, where the label is not known."""

    def __init__(self, config: PrepareConfig):
        self._spec, self._question = config.captioner, config.question

    @cached_property
    def _captioner(self) -> stages.Captioner:
        return once(stages.make_captioner, self._spec or {})

    def __call__(self, clip: DecodedClip) -> DecodedClip:
        if self._spec is None or clip.info.label:
            return clip
        answer = self._captioner.answer(self._question, clip.all_frames[0])
        return _with(clip, {"answer": {"model": self._captioner.name, "question": self._question, "text": answer}})


class Label:
    """The label by Algorithm 1, where it is not known, its category, rule 3, and the augmented caption."""

    def __init__(self, config: PrepareConfig, words: Mapping[str, str]):
        self._config, self._words = config, words

    @cached_property
    def _noun_finder(self) -> stages.NounFinder:
        return once(stages.make_noun_finder, self._config.noun_finder)

    @cached_property
    def _similarity(self) -> stages.Similarity:
        return once(stages.make_similarity, self._config.similarity)

    def __call__(self, clip: DecodedClip) -> DecodedClip:
        config, info = self._config, clip.info
        if info.label:
            known = info.augmented_caption not in ("", info.caption)
            return clip if known else _with(clip, {}, augmented_caption=augment(info.caption, info.label))
        answer = info.provenance.get("answer", {}).get("text", "")
        nouns = self._noun_finder.nouns(info.caption)
        choice = select_label(answer, nouns, list(self._words), self._similarity, config.threshold)
        try:
            check_label(choice, config.rules.vague, config.rules.least_similarity)
        except Rejected:
            if config.training:
                raise
            choice = choice._replace(label=None)
        models = {"noun_finder": self._noun_finder.name, "similarity": self._similarity.name}
        found = choice._asdict() | {"nouns": nouns} | models
        label = choice.label or ""
        return _with(
            clip,
            {"label": found},
            label=label,
            category=category_of(choice, self._words, config.least_category_similarity),
            augmented_caption=augment(info.caption, label),
        )


class Segment:
    """The subject's masks, where they are not known."""

    def __init__(self, config: PrepareConfig):
        self._spec, self._training = config.segmenter, config.training

    @cached_property
    def _segmenter(self) -> stages.Segmenter:
        return once(stages.make_segmenter, self._spec)

    def __call__(self, clip: DecodedClip) -> DecodedClip:
        if clip.all_masks is not None:
            return clip
        label = clip.info.label
        found = self._segment(clip, label) if label else stages.Segmentation(None, {"model": None})
        if found.masks is None and self._training:
            raise Rejected("no_subject", f"{label!r} is not found: {found.provenance}")
        return dataclasses.replace(_with(clip, {"masks": found.provenance}), all_masks=found.masks)

    def _segment(self, clip: DecodedClip, label: str) -> stages.Segmentation:
        box = _box(clip)
        if box is not None:
            try:
                check_box(box, *clip.all_frames.shape[1:3])
            except UserError as error:
                raise Rejected("box", str(error)) from error
        return self._segmenter.segment(clip.all_frames, label, box)


def _box(clip: DecodedClip) -> stages.Box | None:
    """The box that the source gives for the video's first frame, on the clip's first frame; None for later parts."""
    given, cut = clip.info.provenance.get("box"), clip.info.provenance["cut"]
    if given is None or cut["start"] > 0:
        return None
    height, width = cut["size"]
    x, y = clip.info.width / width, clip.info.height / height
    left, top, right, bottom = given[0] * x, given[1] * y, (given[0] + given[2]) * x, (given[1] + given[3]) * y
    return round(left), round(top), max(1, round(right) - round(left)), max(1, round(bottom) - round(top))


class Area:
    """Rule 2."""

    def __init__(self, config: PrepareConfig):
        self._rules, self._training = config.rules, config.training

    def __call__(self, clip: DecodedClip) -> DecodedClip:
        if self._training:
            if clip.all_masks is None:
                raise Rejected("no_subject", "it has no masks")
            check_area(subject_areas(clip.all_masks), self._rules.least_area, self._rules.most_area)
        return clip


def _with(clip: DecodedClip, provenance: dict[str, Any], **info: Any) -> DecodedClip:
    """The clip with more known of it."""
    whole = {**clip.info.provenance, **provenance}
    return dataclasses.replace(clip, info=dataclasses.replace(clip.info, provenance=whole, **info))
