"""What the stages of the preparation are to each other: one small interface for each kind of model.

Another captioner or tracker is one class with such a method, and a line in the table of its kind. All threads of a
process call the same object: what runs on a GPU goes through a `shared.Shared`, and the rest is prepared by the thread
that calls. A class with weights has a table `models`: its arguments that name one → what finds its exact revision, as
`models.pin` does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from magdiff_jax.data import kinds
from magdiff_jax.data.clip import Frames, Masks

# x, y, width, height in pixels, from the upper left corner.
Box = tuple[int, int, int, int]


class Rejected(Exception):
    """A clip that is put aside.

    Args:
        rule: by which rejections are counted, such as "short_side".
        reason: one line for people, with the values that decided.
    """

    def __init__(self, rule: str, reason: str):
        super().__init__(rule, reason)
        self.rule = rule
        self.reason = reason


class Segmentation(NamedTuple):
    """The subject found in a clip.

    Attributes:
        masks: of every frame; None where nothing is found.
        provenance: which models, boxes and scores it follows from; values are what JSON has.
    """

    masks: Masks | None
    provenance: dict[str, Any]


@runtime_checkable
class Captioner(Protocol):
    """Answers a question on a picture. `name` goes to the record."""

    name: str

    def answer(self, question: str, frame: UInt8[np.ndarray, "height width 3"]) -> str: ...


@runtime_checkable
class NounFinder(Protocol):
    """The nouns of a caption, in its order, each once; lemmas in lower case."""

    name: str

    def nouns(self, caption: str) -> list[str]: ...


@runtime_checkable
class Similarity(Protocol):
    """How near in meaning each of some texts is to each of others, -1 to 1."""

    name: str

    def __call__(self, texts: Sequence[str], others: Sequence[str]) -> Float[np.ndarray, "text other"]: ...


@runtime_checkable
class Segmenter(Protocol):
    """Segments what `label` names in frame 0 and tracks it through all frames.

    `box` says where it is, for segmenters that cannot find it themselves; None where that is not known.
    """

    name: str

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation: ...


CAPTIONERS = {"blip2": "magdiff_jax.data.prepare.caption.Blip2"}
NOUN_FINDERS = {"spacy": "magdiff_jax.data.prepare.nouns.SpacyNouns"}
SIMILARITIES = {
    "sentence": "magdiff_jax.data.prepare.similarity.SentenceSimilarity",
    "clip": "magdiff_jax.data.prepare.similarity.ClipTextSimilarity",
    "spacy": "magdiff_jax.data.prepare.similarity.SpacySimilarity",
}
SEGMENTERS = {
    "grounded_sam2": "magdiff_jax.data.prepare.grounded_sam2.GroundedSam2",
    "sam3": "magdiff_jax.data.prepare.sam3.Sam3",
    "grabcut": "magdiff_jax.data.prepare.grabcut.GrabCut",
}


def make_captioner(spec: Mapping[str, Any]) -> Captioner:
    """The captioner that a config names. Raises ConfigError as `kinds.make`."""
    return kinds.make("captioner", CAPTIONERS, spec)


def make_noun_finder(spec: Mapping[str, Any]) -> NounFinder:
    """The noun finder that a config names. Raises ConfigError as `kinds.make`."""
    return kinds.make("noun finder", NOUN_FINDERS, spec)


def make_similarity(spec: Mapping[str, Any]) -> Similarity:
    """The similarity that a config names. Raises ConfigError as `kinds.make`."""
    return kinds.make("similarity", SIMILARITIES, spec)


def make_segmenter(spec: Mapping[str, Any]) -> Segmenter:
    """The segmenter that a config names. Raises ConfigError as `kinds.make`."""
    return kinds.make("segmenter", SEGMENTERS, spec)
