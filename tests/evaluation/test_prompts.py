"""What captions tell can be read from the tokens that the miniature's U-Net is given.

A single attention with four queries, trained for seconds, stands for a cross-attention: what it finds so soon, the
U-Net's can learn.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float, Int

from magdiff_jax import MagDiff
from magdiff_jax.data.emoji import EmojiMotion

TRAIN, VALIDATION = 4000, 1000
QUERIES, WIDTH = 4, 64
STEPS, BATCH = 800, 64

# The longest captions of all have two tokens too many, of the subject's name, said again at their end.
pytestmark = pytest.mark.filterwarnings("ignore:the prompt has")


class Captions(NamedTuple):
    """Prompt tokens, [caption, token, channel], and what the captions tell."""

    tokens: np.ndarray
    told: dict[str, list[str]]


@pytest.fixture(scope="module")
def captions() -> Captions:
    pipe = MagDiff.load()
    clips = [
        source[index]
        for source, count in ((EmojiMotion("train", TRAIN), TRAIN), (EmojiMotion("validation", VALIDATION), VALIDATION))
        for index in range(count)
    ]
    texts = [clip.info.augmented_caption for clip in clips]
    parts = [np.asarray(pipe.encode_prompts(texts[start : start + 500])) for start in range(0, len(texts), 500)]
    samples = [clip.sample for clip in clips]
    told = {
        "motion": [sample.path.motion for sample in samples],
        "colour": [sample.background.colour for sample in samples],
        "texture": [sample.background.texture for sample in samples],
        "panning": [sample.background.panning for sample in samples],
    }
    return Captions(np.concatenate(parts), told)


Params = dict[str, Array]


def logits(params: Params, tokens: Float[Array, "batch token channel"]) -> Float[Array, "batch answer"]:
    scores = jnp.einsum("qd,btd->bqt", params["query"], tokens @ params["key"]) / WIDTH**0.5
    mixed = jnp.einsum("bqt,btd->bqd", jax.nn.softmax(scores), tokens @ params["value"])
    return mixed.reshape(len(tokens), -1) @ params["out"]


def accuracy(tokens: np.ndarray, answers: Int[np.ndarray, " caption"]) -> float:
    """Of unseen captions, after training on the others."""
    keys, channels = jax.random.split(jax.random.key(0), 3), tokens.shape[-1]
    params = {
        "query": jax.random.normal(keys[0], (QUERIES, WIDTH)),
        "key": jax.random.normal(keys[1], (channels, WIDTH)) / channels**0.5,
        "value": jax.random.normal(keys[2], (channels, WIDTH)) / channels**0.5,
        "out": jnp.zeros((QUERIES * WIDTH, answers.max() + 1)),
    }
    optimizer = optax.adam(1e-3)

    # Runs longer than it takes to compile, unlike most of what the suite compiles.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 2})
    def step(params: Params, state: optax.OptState, tokens: Array, answers: Array) -> tuple[Params, optax.OptState]:
        def loss(params: Params) -> Array:
            return optax.softmax_cross_entropy_with_integer_labels(logits(params, tokens), answers).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state, random = optimizer.init(params), np.random.default_rng(0)
    for _ in range(STEPS):
        rows = random.integers(0, TRAIN, BATCH)
        params, state = step(params, state, tokens[rows], answers[rows])
    found = np.asarray(logits(params, tokens[TRAIN:])).argmax(axis=1)
    return float((found == answers[TRAIN:]).mean())


@pytest.mark.parametrize(("what", "least"), [("motion", 0.75), ("colour", 0.9), ("texture", 0.9), ("panning", 0.9)])
def test_captions_can_be_read(captions: Captions, what: str, least: float) -> None:
    answers = np.unique(captions.told[what], return_inverse=True)[1]
    assert accuracy(captions.tokens, answers) > least
