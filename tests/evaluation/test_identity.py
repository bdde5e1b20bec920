"""Looks at subjects: an embedding of one's own, and what ranks say."""

import numpy as np

from magdiff_jax.evaluation.cases import cases
from magdiff_jax.evaluation.identity import PIXELS, Look, consistency, rank
from magdiff_jax.evaluation.scores import score_generation


def test_an_embedding_is_a_second_identity() -> None:
    seen = []

    def embed(pictures: np.ndarray) -> np.ndarray:
        seen.append(pictures)
        return pictures.reshape(len(pictures), -1)[:, ::7].astype(np.float64)

    case = cases(1, 64)[0]
    score = score_generation(case, case.clip.frames(range(8)), (PIXELS, Look("clip", embed, 48, around=0)))
    assert score.ranks == {"pixels": 0, "clip": 0}
    assert {"identity/clip", "consistency/clip"} <= set(score.figures)
    assert [(pictures.shape, pictures.dtype) for pictures in seen] == [
        ((8, 48, 48, 3), np.uint8),
        ((50, 48, 48, 3), np.uint8),
    ]
    assert all((pictures[:, 0, 0] == 0).all() for pictures in seen)


def test_ranks_count_what_is_nearer_or_as_near() -> None:
    references = np.eye(4, dtype=np.float32)
    subject = np.array([[0.6, 0.8, 0, 0], [0.6, 0.8, 0, 0]], np.float32)
    assert rank(subject, references) == 1
    assert rank(subject, references[[1, 0, 2, 3]]) == 0
    assert rank(np.zeros((2, 4), np.float32), references) == 3


def test_consistency_is_the_cosine_of_neighbours() -> None:
    steps = np.radians([0, 60, 120])
    assert np.isclose(consistency(np.stack([np.cos(steps), np.sin(steps)], axis=1)), 0.5)
