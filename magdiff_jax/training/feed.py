"""Batches on the devices, and the position that a run has in its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from magdiff_jax.data.loader import Loader, LoaderConfig, Tokenize, make_loader
from magdiff_jax.sharding.leaves import Leaves
from magdiff_jax.sharding.mesh import share_of_batch, to_global
from magdiff_jax.training.cache import Cached, cached_loader
from magdiff_jax.training.diffusion import Inputs, to_inputs
from magdiff_jax.training.trainer import Trainer


class Fed(NamedTuple):
    """A batch over the mesh, and what this process knows of its own part.

    Attributes:
        encoded: what the frozen encoders make of it, arrays over the whole mesh.
        ids: of the clips that this process loaded.
        counts: of this process's clips, by name: "lost_subjects", see `Batch.lost`; nothing with a cache.
    """

    encoded: Any
    ids: tuple[str, ...]
    counts: dict[str, int]


class Feed:
    """Batches of clips and, in their turn, of images. Its state is a number for each, whatever loads them.

    With a cache they come from there, else the frozen encoders run for each.
    """

    def __init__(self, trainer: Trainer, tokenize: Tokenize, frozen: Leaves, start: Path):
        """
        Args:
            trainer: of the run.
            tokenize: see `make_loader`.
            frozen: parameters.
            start: MagDiff folder that the run started from.

        Raises:
            UserError: the data is not there, or the cache is not this run's.
        """
        config = trainer.config
        self._trainer, self._frozen = trainer, frozen
        self._images = config.images
        self._loaders: dict[str, Loader[Any]] = {}
        if config.cache:
            self._loaders["clips"] = cached_loader(trainer, start, *share_of_batch(trainer.mesh))
        else:
            self._loaders["clips"] = _loader(trainer, trainer.loader_config(), tokenize)
        if config.images.share:
            self._loaders["images"] = _loader(trainer, trainer.loader_config(images=True), tokenize)

    def next(self, step: int) -> Fed:
        """The batch of the step after `step` others."""
        batch = next(self._loaders["images" if self._images.is_turn(step) else "clips"])
        if isinstance(batch, Cached):
            return Fed(to_global(self._trainer.mesh, batch.encoded), batch.ids, {})
        inputs = to_global(self._trainer.mesh, to_inputs(batch))
        return Fed(self._trainer.encode(self._frozen, inputs), batch.ids, {"lost_subjects": int(batch.lost.sum())})

    def get_state(self) -> dict[str, Any]:
        """JSON; see `Loader.get_state`."""
        return {name: loader.get_state() for name, loader in self._loaders.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, in any number of processes. Raises ConfigError where it belongs to other data."""
        for name, loader in self._loaders.items():
            if name in state:
                loader.set_state(state[name])

    def close(self) -> None:
        for loader in self._loaders.values():
            loader.close()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fixed_batches(trainer: Trainer, tokenize: Tokenize, count: int, **changes: Any) -> list[Inputs]:
    """The first batches of the validation clips, as they are: nothing about them is random, no prompt is left empty."""
    crop = trainer.loader_config().crop.replace("random", "centre")
    still = {"shuffle": False, "crop": crop, "flip": False, "prompt_dropout": 0.0, "augment": {"probability": 0.0}}
    sources = trainer.config.validation.sources
    config = trainer.loader_config(**{**still, "sources": sources, "offset": 0, **changes})
    with _loader(trainer, config, tokenize) as loader:
        return [to_global(trainer.mesh, to_inputs(next(loader))) for _ in range(count)]


def _loader(trainer: Trainer, config: LoaderConfig, tokenize: Tokenize) -> Loader[Any]:
    return make_loader(config, tokenize, *share_of_batch(trainer.mesh))
