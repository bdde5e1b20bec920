"""What a run is judged by while it goes on: the loss on fixed clips with fixed noise, and clips to look at."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from magdiff_jax.data.loader import Tokenize
from magdiff_jax.sharding.leaves import Leaves
from magdiff_jax.sharding.mesh import batch_shards
from magdiff_jax.training.diffusion import Inputs
from magdiff_jax.training.feed import fixed_batches
from magdiff_jax.training.metrics import Means
from magdiff_jax.training.samples import SAMPLERS
from magdiff_jax.training.state import TrainState
from magdiff_jax.training.trainer import Trainer


class Validation:
    """Loss and samples of a run, by the parameters' average where one is kept. All processes call the same methods."""

    def __init__(self, trainer: Trainer, tokenize: Tokenize):
        self._trainer = trainer
        self._config = trainer.config.validation
        self._tokenize = tokenize
        self._seed = jax.random.key_data(jax.random.key(trainer.config.seed))
        self._sampler = SAMPLERS[trainer.config.objective](trainer)
        self._kept: dict[str, list[Inputs]] = {}

    def loss(self, state: TrainState, frozen: Leaves, constants: Any) -> dict[str, float]:
        """Means over the first `batches` batches: "loss", and by quarter of the timesteps."""
        means = Means()
        for inputs in self._batches("loss", self._config.batches, subjects=self._trainer.loader_config().subjects):
            encoded = self._trainer.encode(frozen, inputs)
            metrics = self._trainer.validate(_judged(state), frozen, constants, encoded, self._seed)
            means.add(jax.device_get(metrics))
        return means.take()

    def samples(self, state: TrainState, frozen: Leaves, constants: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Name and panels, [frame, height, width, 3] in uint8, of each sample clip; see `samples`."""
        parts = batch_shards(self._trainer.mesh) * self._trainer.config.accumulate
        size = math.ceil(self._config.samples / parts) * parts
        for kind, subjects in self._sampler.kinds.items():
            (inputs,) = self._batches(kind, 1, subjects=subjects, batch_size=size)
            clips = self._sampler(_judged(state), frozen, constants, inputs, self._seed)
            for index, clip in enumerate(clips[: self._config.samples]):
                yield f"{kind}-{index}", clip

    def _batches(self, name: str, count: int, **changes: Any) -> list[Inputs]:
        """Made when they are first asked for, and kept on the devices."""
        if name not in self._kept:
            self._kept[name] = fixed_batches(self._trainer, self._tokenize, count, **changes)
        return self._kept[name]


def _judged(state: TrainState) -> Leaves:
    return state.ema or state.params
