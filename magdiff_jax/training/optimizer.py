"""AdamW or Muon, the learning rate, and clipping."""

import dataclasses
from functools import partial
from typing import Any

import jax
import optax
from jaxtyping import Array
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from magdiff_jax.config import Config

NAMES = ("adamw", "muon")
SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Config):
    """The defaults are the released recipe's (supplement, section B).

    Attributes:
        name: "adamw" (Loshchilov & Hutter 2019), or "muon" (Jordan 2024), which turns the momentum of each matrix into
            the nearest orthogonal one, of the root mean square that an update of Adam's has (Liu et al. 2025, section
            2.2), and leaves vectors and scalars to Adam.
        learning_rate: after the warm-up.
        schedule: of the learning rate: "constant", or "cosine": down to 0 at the run's end.
        warmup_steps: in which it rises from 0.
        weight_decay: of all trainable parameters, as in PyTorch.
        b1, b2, epsilon: of Adam.
        clip_norm: gradients of a larger global norm are scaled down to it; 0: they are not.
        ema: decay a step of the parameters' exponential moving average, 0 … 1; 0: none is kept. It is what samples are
            made with, and what is exported.
    """

    name: str = "adamw"
    learning_rate: float = 5e-5
    schedule: str = "constant"
    warmup_steps: int = 100
    weight_decay: float = 0.01
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        for key in ("learning_rate", "warmup_steps", "weight_decay", "epsilon", "clip_norm"):
            self._require_number(key, 0)
        for key in ("b1", "b2", "ema"):
            self._require_number(key, 0, 1)
            self._require(key, getattr(self, key) < 1, "below 1")
        self._require("name", self.name in NAMES, f"one of {NAMES}")
        self._require("schedule", self.schedule in SCHEDULES, f"one of {SCHEDULES}")


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by steps taken: up from 0 in a line, then constant or half a cosine to 0 at `steps`.

    As diffusers' `constant_with_warmup` and `cosine`, so that the very first step changes nothing where there is a
    warm-up.
    """
    warmup = config.warmup_steps
    if config.schedule == "cosine":
        after: optax.Schedule = optax.cosine_decay_schedule(config.learning_rate, steps - warmup)
    else:
        after = optax.constant_schedule(config.learning_rate)
    rise = optax.linear_schedule(0.0, config.learning_rate, warmup)
    return optax.join_schedules([rise, after], [warmup]) if warmup else after


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The update of the trainable parameters; frozen ones never come here."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        _direction(config),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_learning_rate(learning_rate(config, steps)),
    )


def _direction(config: OptimizerConfig) -> optax.GradientTransformation:
    adam = optax.scale_by_adam(config.b1, config.b2, config.epsilon)
    if config.name == "adamw":
        return adam
    muon = optax.chain(
        scale_by_muon(weight_dimension_numbers=partial(jax.tree.map, _as_matrix)),
        optax.stateless(lambda updates, _: jax.tree.map(_like_adam, updates)),
    )
    return optax.partition({"muon": muon, "adam": adam}, partial(jax.tree.map, _kind))


def _kind(leaf: Array) -> str:
    return "muon" if leaf.ndim > 1 else "adam"


def _as_matrix(leaf: Array) -> MuonDimensionNumbers:
    """All axes of a kernel but the last, its inputs, are the matrix's rows."""
    return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)


def _like_adam(update: Array) -> Array:
    """An orthogonal matrix grown to Adam's root mean square, 0.2 (Liu et al. 2025, eq. 4)."""
    columns = update.shape[-1]
    return 0.2 * max(columns, update.size // columns) ** 0.5 * update


def updates_taken(opt_state: Any) -> Array:
    """How many updates the state of `make_optimizer` has seen: steps that were skipped do not count."""
    return opt_state[-1].count
