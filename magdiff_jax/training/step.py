"""One training step: gradients of the trainable parameters, in parts of a batch, then AdamW."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from magdiff_jax.sharding.leaves import Leaves
from magdiff_jax.training.loss_scale import adjust
from magdiff_jax.training.optimizer import OptimizerConfig
from magdiff_jax.training.state import TrainState

# (trainable and frozen parameters, part of a batch) → (losses [part], metrics)
LossFunction = Callable[[Leaves, Any], tuple[Float[Array, " part"], dict[str, Array]]]
Metrics = dict[str, Array]


def split(batch: Any, parts: int) -> Any:
    """[batch, …] → [parts, batch / parts, …]; each device's clips go evenly to all parts, so that none moves."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] // parts, parts, *leaf.shape[1:]).swapaxes(0, 1), batch)


def join(parts: Any) -> Any:
    """The inverse of `split`."""
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1).reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), parts)


def in_parts(function: Callable[[Any], Any], batch: Any, parts: int) -> Any:
    """`function` of one part of a batch after the other, for less memory."""
    return function(batch) if parts == 1 else join(jax.lax.map(function, split(batch, parts)))


def gradients(
    losses: LossFunction, params: Leaves, frozen: Leaves, batch: Any, parts: int, scale: Float[Array, ""] | None
) -> tuple[Leaves, Metrics]:
    """Gradients of the mean loss, unscaled and in float32, with the loss and the loss function's own metrics.

    `scale` multiplies the loss before the backward pass, so that float16 holds its gradients; None: it need not. The
    gradients of parts are added up and divided by their number: those of the whole batch, since the parts are equally
    large.
    """

    def of_part(params: Leaves, part: Any) -> tuple[Array, Metrics]:
        each, metrics = losses({**params, **frozen}, part)
        loss = each.mean()
        return loss if scale is None else loss * scale, {"loss": loss, **metrics}

    gradient = jax.grad(of_part, has_aux=True)
    if parts == 1:
        grads, metrics = gradient(params, batch)
    else:

        def add(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradient(params, part)), None

        split_batch = split(batch, parts)
        shapes = jax.eval_shape(gradient, params, jax.tree.map(lambda leaf: leaf[0], split_batch))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        (grads, metrics), _ = jax.lax.scan(add, zeros, split_batch)
        grads = jax.tree.map(lambda leaf: leaf / parts, grads)
        # Sums and counts stay such; everything else is a mean.
        metrics = {name: leaf if leaf.ndim else leaf / parts for name, leaf in metrics.items()}
    if scale is not None:
        grads = jax.tree.map(lambda leaf: leaf / scale, grads)
    return grads, metrics


def update(
    state: TrainState,
    grads: Leaves,
    optimizer: optax.GradientTransformation,
    config: OptimizerConfig,
    growth_interval: int | None,
) -> tuple[TrainState, Metrics]:
    """The state after a step. Where a gradient is not finite nothing changes but the step and the loss scale.

    `growth_interval`: of the loss scale; None: it stays.
    """
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(norm)

    def take(state: TrainState) -> TrainState:
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema:
            ema = jax.tree.map(lambda old, new: config.ema * old + (1 - config.ema) * new, ema, params)
        return state._replace(params=params, opt_state=opt_state, ema=ema)

    # Not a choice number by number between the two states: XLA would copy Adam's old moments for it.
    new = jax.lax.cond(finite, take, lambda state: state, state)
    loss_scale = state.loss_scale
    if growth_interval is not None:
        loss_scale = adjust(loss_scale, finite, growth_interval)
    metrics = {
        "gradient_norm": norm,
        "parameter_norm": optax.tree.norm(new.params),
        "loss_scale": state.loss_scale.scale,
        "skipped": jnp.where(finite, 0.0, 1.0),
    }
    return new._replace(step=state.step + 1, loss_scale=loss_scale), metrics
