"""Where a run's weights start: a MagDiff folder, as it is or with some networks made fresh.

Fresh networks are made once and written as a MagDiff folder into the run's own, so that a run that goes on, one on
other devices and the export of its weights all read the same frozen parameters.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from magdiff_jax.config import Config, ConfigError
from magdiff_jax.cutout import CLIP_CROP
from magdiff_jax.data.loader import LoaderConfig
from magdiff_jax.data.sources import open_source
from magdiff_jax.errors import UserError
from magdiff_jax.models import COMPONENTS, Params, build
from magdiff_jax.models.network import flatten, unflatten
from magdiff_jax.replacing import replacing
from magdiff_jax.sharding.leaves import Leaves, to_leaves, to_params
from magdiff_jax.sharding.mesh import leaf_shardings
from magdiff_jax.tokenizer import Tokenizer, copy_files, learn_tokenizer
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.training.trainer import Trainer
from magdiff_jax.weights import directory
from magdiff_jax.weights.convert import check_fit

# For a run's own tokenizer: learnt from so many captions of its data.
CAPTIONS = 4000
LEARNT = "captions"


def networks_of(config: TrainConfig) -> dict[str, Config]:
    """Configurations of the components that a run has: the folder's, and instead or beside them the fresh ones.

    Raises:
        UserError: the folder is no MagDiff folder.
        ConfigError: an impossible configuration.
    """
    stored = directory.read_description(Path(config.start.folder)).networks if config.start.folder else {}
    kinds: Mapping[str, Any] = {name: kind for name, (_, kind) in COMPONENTS.items()}
    fresh = {name: kinds[name].from_dict(values) for name, values in config.start.networks.items()}
    networks = {**stored, **fresh}
    unet: Any = networks["unet"]
    if unet.apa and (lacking := {"vision", "resampler"} - set(networks)):
        raise ConfigError(f"start.networks: a U-Net with APA needs {' and '.join(sorted(lacking))} too")
    return networks


def start_folder(config: TrainConfig, workdir: Path) -> Path:
    """The MagDiff folder that a run's parameters start from: the config's, or one of its own."""
    return workdir / "start" if config.start.networks else Path(config.start.folder)


def make_start(config: TrainConfig, trainer: Trainer, workdir: Path) -> Path:
    """The MagDiff folder that a run starts from; makes `workdir/start` where some networks are fresh.

    All processes call it; the first one writes.

    Raises:
        UserError: the tokenizer is not there, or the networks do not belong together.
    """
    start = start_folder(config, workdir)
    # The first process decides for all: another may look when the folder is there already.
    is_there = multihost_utils.broadcast_one_to_all(np.array((start / directory.MARK).is_file()))
    if config.start.networks and not is_there:
        if jax.process_index() == 0:
            with replacing(start) as new:
                _write(config, trainer, new)
        else:
            for name in trainer.networks:
                if name in config.start.networks:
                    _fresh(config, trainer, name, lambda path, leaf: None)
        multihost_utils.sync_global_devices("start")
    return start


def load_start(folder: Path, trainer: Trainer) -> tuple[Leaves, Leaves]:
    """The trainable and the frozen parameters of a MagDiff folder, each device reading its own part.

    Raises:
        UserError: the folder is damaged, or its networks are others than the trainer's.
    """
    networks = directory.read_description(folder).networks
    for name, network in trainer.networks.items():
        if networks.get(name) != network.config:
            raise UserError(f"{folder}: its {name} is another one than the run's; choose another --workdir")
    placed = {**trainer.abstract_trainable(), **trainer.abstract_frozen()}
    leaves: Leaves = {}
    for name in trainer.networks:
        leaves |= to_leaves(name, directory.read_sharded(folder, name, to_params(name, placed)))
    return {path: leaves[path] for path in trainer.trainable}, {path: leaves[path] for path in trainer.frozen}


def starting_params(config: TrainConfig, trainer: Trainer, name: str) -> Params:
    """A component's parameters as the run starts with them, as NumPy arrays.

    All processes call it where the component is fresh: each device makes its part.

    Raises:
        UserError: the folder that the run starts from is damaged.
    """
    arrays: dict[str, np.ndarray] = {}
    if name in config.start.networks:
        _fresh(config, trainer, name, arrays.__setitem__)
    params = to_params(name, arrays)
    if config.start.folder:
        base = Path(config.start.folder)
        description = directory.read_description(base)
        if name in description.networks:
            stored = _read(base, description, name)
            return taken_over(params, stored) if arrays else stored
    return params


def write_tokenizer(config: TrainConfig, trainer: Trainer, folder: Path) -> None:
    """Copy or learn the run's tokenizer.

    Raises:
        UserError: it is not there, or the networks do not belong together or to it.
    """
    words = _write_tokenizer(config, trainer, folder)
    height = trainer.loader_config().height
    check_fit({name: network.config for name, network in trainer.networks.items()}, words, height)


def _write(config: TrainConfig, trainer: Trainer, new: Path) -> None:
    new.mkdir()
    write_tokenizer(config, trainer, new / "tokenizer")
    fingerprints = {
        name: directory.write_component(new, name, network.config, starting_params(config, trainer, name))
        for name, network in trainer.networks.items()
    }
    directory.write_description(new, model_config(config), config.sampling, fingerprints)


def model_config(config: TrainConfig) -> directory.ModelConfig:
    """What the run's model is beside its networks."""
    data = LoaderConfig.from_dict({**config.data, "batch_size": config.batch_size})
    # Where a run's data have none, as it is without APA, any does.
    return directory.ModelConfig(data.frames, data.height, data.sda, data.clip_crop or CLIP_CROP)


def _fresh(config: TrainConfig, trainer: Trainer, name: str, keep: Callable[[str, np.ndarray], None]) -> None:
    """Make a network's parameters, each device its own part, and hand them on to `keep` one after the other."""
    network = build(name, trainer.networks[name].config)
    paths = [path for path, _ in flatten(network.shapes)]
    placed = leaf_shardings(config.sharding, trainer.shapes, trainer.mesh)
    names = list(to_leaves(name, unflatten((path, path) for path in paths)))
    key = jax.random.fold_in(jax.random.key(config.seed), list(COMPONENTS).index(name))
    leaves = network.init_leaves(key, paths, [placed[path] for path in names])
    for path in reversed(names):
        keep(path, np.asarray(multihost_utils.process_allgather(leaves.pop(), tiled=True)))


def _read(base: Path, stored: directory.Description, name: str) -> Params:
    network = build(name, stored.networks[name])
    return directory.read_component(base, name, network.shapes, stored.fingerprints[name])


def taken_over(fresh: Params, stored: Params) -> Params:
    """A fresh network's parameters with a stored one's in the place of those of the same shape.

    `conv_in` may have more input channels than it had, or fewer: it takes over the first ones, which are the noise's,
    and others start at zero.
    """
    old = dict(flatten(stored))

    def leaf(path: Any, new: np.ndarray) -> np.ndarray:
        if path in old and old[path].shape == new.shape:
            return old[path].astype(new.dtype, copy=False)
        if path == ("conv_in", "kernel") and path in old and old[path].shape[3] == new.shape[3]:
            both = min(new.shape[2], old[path].shape[2])
            widened = np.zeros_like(new)
            widened[:, :, :both] = old[path][:, :, :both]
            return widened
        return new

    return unflatten((path, leaf(path, new)) for path, new in flatten(fresh))


def _write_tokenizer(config: TrainConfig, trainer: Trainer, folder: Path) -> int:
    """Copy or learn the tokenizer; returns how many tokens it knows."""
    if config.start.tokenizer == LEARNT:
        sources = [open_source({k: v for k, v in spec.items() if k != "weight"}) for spec in config.data["sources"]]
        clips = (source[index] for source in sources for index in range(len(source)))
        text: Any = trainer.networks["text_encoder"].config
        return learn_tokenizer(
            (clip.info.augmented_caption for clip in islice(clips, CAPTIONS)), folder, text.vocab_size - 2 - 256
        )
    source = Path(config.start.tokenizer or Path(config.start.folder) / "tokenizer")
    words = Tokenizer(source, 2).vocabulary
    copy_files(source, folder)
    return words
