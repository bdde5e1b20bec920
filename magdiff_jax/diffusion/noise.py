"""Noise that depends on its own seed alone, whatever batch it is drawn in."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def seed_keys(seeds: Sequence[int]) -> Key[Array, " batch"]:
    """One key for each seed."""
    return jnp.stack([jax.random.key(seed) for seed in seeds])


@partial(jax.jit, static_argnames="shape")
def normal(
    keys: Key[Array, " batch"], stream: int | Int[Array, ""], shape: tuple[int, ...]
) -> Float[Array, "batch *shape"]:
    """Standard normal noise, [batch, *shape], independent for each key and each `stream`."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, stream), shape))(keys)


@jax.jit
def progressive(
    noise: Float[Array, "batch frame *shape"], alpha: float | Float[Array, ""]
) -> Float[Array, "batch frame *shape"]:
    """Correlate independent noise over the frames: the progressive noise prior (Ge et al. 2023, eq. 5).

    Frame f is α/√(1+α²) · frame f-1 + 1/√(1+α²) · its own noise: unit variance throughout; α = 0 changes nothing.
    """
    carried, own = alpha / (1 + alpha**2) ** 0.5, 1 / (1 + alpha**2) ** 0.5

    def following(previous: Array, fresh: Array) -> tuple[Array, Array]:
        frame = carried * previous + own * fresh
        return frame, frame

    first, rest = noise[:, 0], noise[:, 1:].swapaxes(0, 1)
    _, frames = jax.lax.scan(following, first, rest)
    return jnp.concatenate([first[:, None], frames.swapaxes(0, 1)], axis=1)
