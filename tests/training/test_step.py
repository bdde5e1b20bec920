"""The training step of the tiny model: what is frozen, parts of a batch, remat, precision, averages, images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.training.trainer import model_flops
from tests.training.tiny import ATTENTIVE, NETWORKS, Run, copied, emoji, make_run

# With cross-attention on two levels, and so much weight on the subject that it alone counts where there is one.
CHANGES: dict[str, Any] = {"start": {"networks": {**NETWORKS, "unet": ATTENTIVE}}, "subject_weight": 1e6}


@pytest.fixture(scope="module")
def run() -> Run:
    """On clips of which no subject is known to cover anything, so that all of a clip weighs alike."""
    run = make_run(**CHANGES)
    return run._replace(encoded=covered(run, np.zeros(run.encoded.coverage.shape)))


def covered(run: Run, coverage: np.ndarray) -> Any:
    """The run's batch with other shares of the subject in its latents."""
    return run.encoded._replace(coverage=jnp.asarray(coverage, jnp.float32))


def losses(metrics: list[dict[str, np.ndarray]]) -> list[float]:
    return [float(each["loss"]) for each in metrics]


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    return {path: float(np.abs(np.asarray(after[path]) - np.asarray(before[path])).max()) for path in before}


def test_frozen_parameters_are_no_part_of_the_state(run: Run) -> None:
    frozen_bits = {path: np.asarray(leaf).tobytes() for path, leaf in run.frozen.items()}
    state, _ = run.steps(3)
    assert {path: np.asarray(leaf).tobytes() for path, leaf in run.frozen.items()} == frozen_bits
    moved = changes(run.state.params, state.params)
    assert min(moved.values()) > 0
    assert set(moved) == set(run.trainer.trainable)
    assert {"unet/conv_out/kernel", "unet/time_embedding/linear_1/kernel", "vae/quant_conv/kernel"} <= set(run.frozen)
    # Two moments for each trainable parameter, two counters, and nothing else.
    sizes = sum(leaf.size for leaf in jax.tree.leaves(run.state.params))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.opt_state)) == 2 * sizes + 2


def test_average_follows_the_parameters(run: Run) -> None:
    state = copied(run.state)
    expected = {path: np.asarray(leaf, np.float64) for path, leaf in state.params.items()}
    for _ in range(3):
        state, _ = run.trainer.step(state, run.frozen, run.constants, run.encoded)
        expected = {path: 0.9 * old + 0.1 * np.asarray(state.params[path]) for path, old in expected.items()}
    for path, value in expected.items():
        np.testing.assert_allclose(state.ema[path], value, rtol=1e-5, atol=1e-6)


def test_parts_of_a_batch_and_remat_change_no_gradient(run: Run) -> None:
    whole, metrics = run.steps(2)
    other = make_run(**CHANGES, accumulate=4, remat=True)
    other = other._replace(encoded=covered(other, np.zeros(other.encoded.coverage.shape)))
    in_parts, again = other.steps(2)
    for one, two in zip(metrics, again, strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_allclose(value, two[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert max(changes(whole.params, in_parts.params).values()) < 1e-4
    assert model_flops(other.trainer) == pytest.approx(model_flops(run.trainer), rel=1e-3)


def test_metrics_say_what_they_are(run: Run) -> None:
    _, metrics = run.steps(3)
    assert [float(each["learning_rate"]) for each in metrics] == pytest.approx([0, 5e-4, 1e-3])
    assert [float(each["quarter_counts"].sum()) for each in metrics] == [8, 8, 8]
    # No weighting: the mean over all examples is that of the quarters together.
    assert float(metrics[0]["quarter_sums"].sum()) / 8 == pytest.approx(float(metrics[0]["loss"]), rel=1e-5)
    assert metrics[0]["apa/text/mid_block"] == pytest.approx(1.0)
    assert metrics[0]["apa/image/down_blocks.0"] == pytest.approx(1.5)


def test_the_subject_weighs_more_than_the_rest(run: Run) -> None:
    coverage = np.asarray(make_run(**CHANGES).encoded.coverage)
    assert 0.01 < coverage.mean() < 0.9
    assert set(np.unique(coverage)) >= {0.0, 1.0}

    def first_step(coverage: np.ndarray) -> dict[str, Any]:
        return run._replace(encoded=covered(run, coverage)).steps(1)[1][0]

    # Without weights, as it is reported beside the loss.
    plain = float(first_step(coverage)["quarter_sums"].sum()) / len(coverage)
    for everywhere_alike in (np.zeros_like(coverage), np.ones_like(coverage)):
        assert first_step(everywhere_alike)["loss"] == pytest.approx(plain, rel=1e-5)
    # So large a weight leaves the errors of the one half of the frames alone, and of the other.
    first = np.zeros_like(coverage)
    first[:, : coverage.shape[1] // 2] = 1
    halves = [float(first_step(half)["loss"]) for half in (first, 1 - first)]
    assert np.mean(halves) == pytest.approx(plain, rel=1e-4)
    assert abs(halves[0] - halves[1]) > 1e-3


def test_overflow_in_float16_is_skipped_and_the_scale_recovers() -> None:
    precision = {"compute": "float16", "frozen": "float16", "loss_scale": 2.0**24, "growth_interval": 3}
    run = make_run(precision=precision, optimizer={"warmup_steps": 0})
    assert {leaf.dtype for leaf in run.frozen.values()} == {jnp.dtype(jnp.float16)}
    state, metrics = run.steps(30)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(jnp.float32)}
    skipped = [bool(each["skipped"]) for each in metrics]
    scales = [float(each["loss_scale"]) for each in metrics]
    first = skipped.index(False)
    assert 0 < first < 25  # a scale of 2**24 overflows at once; halving it ends that
    assert scales[: first + 1] == [2.0 ** (24 - index) for index in range(first + 1)]
    assert scales[first + 3] == 2 * scales[first]  # three good steps
    assert all(np.isfinite(losses(metrics)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(state.params)))
    before, _ = run.steps(first)
    assert max(changes(run.state.params, before.params).values()) == 0
    assert int(before.opt_state[-1].count) == 0
    assert int(before.step) == first


@pytest.mark.quick
def test_images_leave_the_temporal_layers_alone() -> None:
    images = {"share": 0.5, "sources": (emoji("train", 8),), "batch_size": 8}
    run = make_run(one_frame=True, images=images, optimizer={"warmup_steps": 0, "weight_decay": 0.0})
    assert [run.trainer.config.images.is_turn(step) for step in range(4)] == [False, True, False, True]
    assert run.encoded.clips.mean.shape[:2] == (8, 1)
    state, _ = run.steps(1)
    for path, change in changes(run.state.params, state.params).items():
        assert (change == 0) == ("/temp_" in path), path


def test_overfits_four_clips() -> None:
    everything = ((r"^(unet|resampler)/", True), ("rest", False))
    run = make_run(batch_size=4, steps=100, trainable=everything, optimizer={"learning_rate": 1e-2, "warmup_steps": 20})
    # Noise and timesteps follow from the clips' positions, so that the same step again can be learnt by heart.
    _, metrics = run.steps(100)
    assert np.mean(losses(metrics)[:5]) > 0.8
    assert np.mean(losses(metrics)[-5:]) < 0.05


def test_shifted_timesteps_are_diffusers() -> None:
    schedulers = pytest.importorskip("diffusers")
    from magdiff_jax.training.diffusion import shift

    theirs = schedulers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0).sigmas.numpy()[1:]
    even = np.arange(999, 0, -1, dtype=np.float32) / 1000
    np.testing.assert_allclose(shift(jnp.asarray(even), 3.0), theirs, rtol=1e-5)
    # The largest number below one that is drawn must stay below it: its timestep is the last.
    largest = jnp.asarray([1 - 2**-23], jnp.float32)
    assert int((shift(largest, 3.0) * 1000).astype(jnp.int32)[0]) == 999


def test_min_snr_weights_are_the_papers() -> None:
    from magdiff_jax.training.diffusion import min_snr_weight

    alpha = np.array([0.999, 0.9, 0.5, 0.1, 0.0])
    ratio = alpha / (1 - alpha)
    expected = np.minimum(ratio, 5)
    np.testing.assert_allclose(
        min_snr_weight(jnp.asarray(alpha), 5.0, "v_prediction"), expected / (ratio + 1), rtol=1e-4
    )
    np.testing.assert_allclose(
        min_snr_weight(jnp.asarray(alpha[:4]), 5.0, "epsilon"), expected[:4] / ratio[:4], rtol=1e-4
    )
    np.testing.assert_array_equal(min_snr_weight(jnp.asarray(alpha), 0.0, "epsilon"), np.ones(5))


def test_config_of_the_paper_is_the_papers() -> None:
    from configs import magdiff_sd21_256, small
    from magdiff_jax.training.config import TrainConfig

    config = TrainConfig.from_dict(magdiff_sd21_256.get_config().to_dict())
    optimizer = config.optimizer
    assert (config.batch_size, config.steps) == (64, 50_000)
    assert (optimizer.learning_rate, optimizer.weight_decay, optimizer.warmup_steps) == (5e-5, 0.01, 100)
    assert config.data["prompt_dropout"] == 0.15
    assert config.schedule.zero_terminal_snr
    assert not config.sampling.zero_terminal_snr
    assert config.trainable != small.get_config().trainable


def test_a_text_to_video_model_is_trained_and_validated() -> None:
    unet = {**NETWORKS["unet"], "apa": False, "hfa_levels": ()}
    changes = {"start": {"networks": {**NETWORKS, "unet": unet}}, "accumulate": 2}
    run = make_run(**changes)
    state, metrics = run.steps(1)
    seed = jax.random.key_data(jax.random.key(0))
    validated = run.trainer.validate(state.params, run.frozen, run.constants, run.encoded, seed)
    assert 0.5 < float(metrics[0]["loss"]) < 2
    assert 0.5 < float(validated["loss"]) < 2
