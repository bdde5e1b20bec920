"""What a training step changes, and where it lies."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, UInt32

from magdiff_jax.sharding.leaves import Leaves
from magdiff_jax.training.loss_scale import LossScale, make_loss_scale


class TrainState(NamedTuple):
    """All that goes on from step to step. Frozen parameters stand beside it, and in no gradient or optimizer state.

    Attributes:
        step: steps taken, skipped ones included.
        params: the trainable parameters, float32.
        opt_state: optax's.
        ema: the exponential moving average of `params`; empty where none is kept.
        loss_scale: see `loss_scale`; 1 throughout but in float16.
        seed: raw key of the run; the keys of everything random are derived from it.
    """

    step: Int[Array, ""]
    params: Leaves
    opt_state: Any
    ema: Leaves
    loss_scale: LossScale
    seed: UInt32[Array, "2"]


def make_state(
    params: Leaves, optimizer: optax.GradientTransformation, seed: int, loss_scale: float, with_ema: bool
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        jnp.int32(0),
        params,
        optimizer.init(params),
        jax.tree.map(jnp.copy, params) if with_ema else {},
        make_loss_scale(loss_scale),
        jax.random.key_data(jax.random.key(seed)),
    )


def state_shardings(
    shapes: TrainState, optimizer: optax.GradientTransformation, params: dict[str, Any], everywhere: Any
) -> TrainState:
    """Where a state's arrays lie: moments and the average beside their parameter, all else `everywhere`."""
    # Where a part of the optimizer leaves a parameter to another one, Muon to Adam, it keeps a MaskedNode.
    opt_state = optax.tree.map_params(
        optimizer,
        lambda leaf, sharding: leaf if isinstance(leaf, optax.MaskedNode) else sharding,
        shapes.opt_state,
        params,
        transform_non_params=lambda _: everywhere,
        is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode),
    )
    scalars = jax.tree.map(lambda _: everywhere, shapes)
    return scalars._replace(params=params, opt_state=opt_state, ema=params if shapes.ema else {})
