"""The optimizer against PyTorch's AdamW and Muon, and diffusers' learning rates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

from magdiff_jax.training.optimizer import OptimizerConfig, learning_rate, make_optimizer, updates_taken
from magdiff_jax.training.state import make_state, state_shardings


@pytest.mark.parametrize(("ours", "theirs"), [("constant", "constant_with_warmup"), ("cosine", "cosine")])
def test_learning_rate_is_diffusers(ours: str, theirs: str) -> None:
    torch = pytest.importorskip("torch")
    optimization = pytest.importorskip("diffusers.optimization")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=5e-5)
    schedule = optimization.get_scheduler(theirs, optimizer, num_warmup_steps=10, num_training_steps=50)
    expected = []
    for _ in range(50):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    rates = learning_rate(OptimizerConfig(schedule=ours, warmup_steps=10), 50)
    np.testing.assert_allclose([float(rates(step)) for step in range(50)], expected, rtol=1e-5, atol=1e-12)


@pytest.mark.quick
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_update_is_pytorchs(clip_norm: float) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    start, grads = random.standard_normal(20).astype(np.float32), random.standard_normal((5, 20)).astype(np.float32)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    adamw = torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.01)
    config = OptimizerConfig(learning_rate=1e-2, warmup_steps=0, clip_norm=clip_norm)
    ours = {"w": jnp.asarray(start)}
    optimizer = make_optimizer(config, 5)
    opt_state = optimizer.init(ours)
    for grad in grads:
        theirs.grad = torch.from_numpy(grad.copy())
        if clip_norm:
            torch.nn.utils.clip_grad_norm_([theirs], clip_norm)
        adamw.step()
        updates, opt_state = optimizer.update({"w": jnp.asarray(grad)}, opt_state, ours)
        ours = optax.apply_updates(ours, updates)
    np.testing.assert_allclose(ours["w"], theirs.detach().numpy(), rtol=2e-6, atol=1e-7)
    assert int(updates_taken(opt_state)) == 5


def test_muons_first_update_is_pytorchs() -> None:
    """PyTorch orthogonalizes in bfloat16, and from the second step on weighs the momentum a little differently."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    config = OptimizerConfig(name="muon", learning_rate=1e-2, warmup_steps=0, weight_decay=0.1)
    for shape in [(24, 40), (40, 24)]:
        start, grad = random.standard_normal((2, *shape)).astype(np.float32)
        theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
        theirs.grad = torch.from_numpy(grad.copy())
        torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw").step()
        new = _step(config, {"w": jnp.asarray(start)}, {"w": jnp.asarray(grad)})["w"]
        change = theirs.detach().numpy() - start
        np.testing.assert_allclose(new - start, change, atol=0.02 * np.abs(change).max())


def test_muon_takes_kernels_as_matrices_and_leaves_vectors_to_adam() -> None:
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 3, 4, 8), "bias": (8,)}
    start, grads = ({name: random.standard_normal(shape) for name, shape in shapes.items()} for _ in range(2))
    start, grads = (jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree) for tree in (start, grads))
    muon, adamw = (_step(OptimizerConfig(name=name, warmup_steps=0), start, grads) for name in ("muon", "adamw"))
    np.testing.assert_array_equal(muon["bias"], adamw["bias"])
    matrix = {"w": start["kernel"].reshape(36, 8)}, {"w": grads["kernel"].reshape(36, 8)}
    flat = _step(OptimizerConfig(name="muon", warmup_steps=0), *matrix)
    np.testing.assert_array_equal(muon["kernel"].reshape(36, 8), flat["w"])


def test_moments_lie_beside_their_parameters() -> None:
    params = {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}
    for name in ("adamw", "muon"):
        optimizer = make_optimizer(OptimizerConfig(name=name), 200)
        shapes = jax.eval_shape(lambda optimizer=optimizer: make_state(params, optimizer, 0, 1.0, with_ema=True))
        places = state_shardings(shapes, optimizer, {"kernel": "of the kernel", "bias": "of the bias"}, "everywhere")
        assert jax.tree.structure(places) == jax.tree.structure(shapes)
        expected = {(3, 4): "of the kernel", (4,): "of the bias"}
        for place, leaf in zip(jax.tree.leaves(places), jax.tree.leaves(shapes), strict=True):
            assert place == expected.get(leaf.shape, "everywhere")


def _step(config: OptimizerConfig, params: dict[str, Array], grads: dict[str, Array]) -> dict[str, Array]:
    optimizer = make_optimizer(config, 5)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return optax.apply_updates(params, updates)
