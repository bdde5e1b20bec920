"""Dynamic loss scaling for float16 (Micikevicius et al. 2018, section 3.2)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

GROWTH = 2.0


class LossScale(NamedTuple):
    """State of the scaling.

    Attributes:
        scale: that the loss is multiplied with before the backward pass, and the gradients are divided by.
        good_steps: without overflow since the scale last changed.
    """

    scale: Float[Array, ""]
    good_steps: Int[Array, ""]


def make_loss_scale(initial: float) -> LossScale:
    """`initial` 1 for types that need no scaling."""
    return LossScale(jnp.float32(initial), jnp.int32(0))


def adjust(current: LossScale, finite: Bool[Array, ""], growth_interval: int) -> LossScale:
    """Half the scale after an overflow, at least 1; twice after `growth_interval` steps without."""
    good_steps = jnp.where(finite, current.good_steps + 1, 0)
    grows = good_steps >= growth_interval
    grown = jnp.where(grows, current.scale * GROWTH, current.scale)
    scale = jnp.where(finite, grown, jnp.maximum(current.scale / GROWTH, 1.0))
    return LossScale(scale, jnp.where(grows, 0, good_steps))
