"""Batches on the devices, and the position that a run has in its data."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from magdiff_jax.data.loader import LoaderConfig, Tokenize, make_loader
from magdiff_jax.training.diffusion import Inputs, to_inputs
from magdiff_jax.training.mesh import share_of_batch, to_global
from magdiff_jax.training.trainer import Trainer


class Fed(NamedTuple):
    """A batch over the mesh, and what this process knows of its own part.

    Attributes:
        inputs: arrays over the whole mesh, for the frozen encoders.
        ids: of the clips that this process loaded.
        prompts: theirs.
    """

    inputs: Inputs
    ids: tuple[str, ...]
    prompts: tuple[str, ...]


class Feed:
    """Batches of clips and, in their turn, of images. Its state is a number for each, whatever loads them."""

    def __init__(self, trainer: Trainer, tokenize: Tokenize):
        config = trainer.config
        self._mesh = trainer.mesh
        self._images = config.images
        self._loaders = {"clips": self._loader(trainer.loader_config(), tokenize)}
        if config.images.share:
            self._loaders["images"] = self._loader(trainer.loader_config(images=True), tokenize)

    def next(self, step: int) -> Fed:
        """The batch of the step after `step` others."""
        batch = next(self._loaders["images" if self._images.is_turn(step) else "clips"])
        return Fed(to_global(self._mesh, to_inputs(batch)), batch.ids, batch.prompts)

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

    def _loader(self, config: LoaderConfig, tokenize: Tokenize) -> Any:
        return make_loader(config, tokenize, *share_of_batch(self._mesh))


def fixed_batches(trainer: Trainer, tokenize: Tokenize, count: int, **changes: Any) -> list[Fed]:
    """The first batches of the validation clips, as they are: nothing about them is random, no prompt is left empty."""
    still = {"shuffle": False, "crop": "centre", "flip": False, "prompt_dropout": 0.0, "augment": {"probability": 0.0}}
    sources = trainer.config.validation.sources
    config = trainer.loader_config(**{**still, "sources": sources, "offset": 0, **changes})
    loader = make_loader(config, tokenize, *share_of_batch(trainer.mesh))
    with loader:
        batches = [next(loader) for _ in range(count)]
    return [Fed(to_global(trainer.mesh, to_inputs(batch)), batch.ids, batch.prompts) for batch in batches]
