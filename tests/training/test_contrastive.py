"""CLIP's objective: its loss is transformers', and it learns."""

import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.sharding.leaves import to_params
from magdiff_jax.training.contrastive import TEMPERATURE, embed_images, embed_text
from tests.training.tiny import NETWORKS, Run, make_config, make_run

TOWERS = ((r"^(text_encoder|vision)/", True), ("rest", False))


@pytest.fixture(scope="module")
def run() -> Run:
    optimizer = {"learning_rate": 1e-2, "warmup_steps": 10}
    return make_run(objective="clip", steps=200, trainable=TOWERS, optimizer=optimizer, data={"prompt_dropout": 0.0})


def test_loss_is_the_one_of_transformers(run: Run) -> None:
    torch = pytest.importorskip("torch")
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    leaves = {**run.state.params, **run.frozen}
    networks, pairs = run.trainer.networks, run.encoded
    text = embed_text(networks["text_encoder"], to_params("text_encoder", leaves), pairs.tokens)
    expected = []
    for view in pairs.views:
        images = embed_images(networks["vision"], to_params("vision", leaves), view)
        np.testing.assert_allclose(jnp.linalg.norm(images, axis=1), 1, rtol=1e-5)
        expected.append(float(image_text_contrastive_loss(torch.from_numpy(np.array(text @ images.T / TEMPERATURE)))))
    _, metrics = run.steps(1)
    assert float(metrics[0]["loss"]) == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_prompt_is_read_at_its_end(run: Run) -> None:
    """What follows the token that ends it changes nothing."""
    last = NETWORKS["text_encoder"]["vocab_size"] - 1
    tokens = jnp.array([[5, 6, last, 0, 0], [5, 6, last, 9, 8], [5, 7, last, 0, 0]], jnp.int32)
    leaves = {**run.state.params, **run.frozen}
    one, other, another = embed_text(run.trainer.networks["text_encoder"], to_params("text_encoder", leaves), tokens)
    np.testing.assert_array_equal(one, other)
    assert jnp.abs(one - another).max() > 1e-3


def test_it_learns_which_belong_together(run: Run) -> None:
    state, metrics = run.steps(100)
    # Eight pairs: chance is an eighth, and ln 8.
    assert float(metrics[0]["loss"]) > 1.5
    assert float(metrics[-1]["loss"]) < 0.1
    assert metrics[-1]["accuracy/frame"] == metrics[-1]["accuracy/subject"] == 1
    assert {path.split("/")[0] for path in state.params} == {"text_encoder", "vision"}


def test_a_batch_stays_in_one_part() -> None:
    with pytest.raises(ConfigError, match="accumulate: objective 'clip' compares all pairs"):
        make_config(objective="clip", accumulate=2)
