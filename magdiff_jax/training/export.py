"""A run's checkpoint → a MagDiff folder."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.models.network import flatten, unflatten
from magdiff_jax.replacing import check_replaceable, replacing
from magdiff_jax.sharding.leaves import to_params
from magdiff_jax.sharding.mesh import MeshConfig
from magdiff_jax.tokenizer import copy_files
from magdiff_jax.training.checkpoints import Checkpoints
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.training.start import model_config, networks_of, start_folder
from magdiff_jax.training.trainer import Trainer
from magdiff_jax.weights import directory


def export(
    config: TrainConfig,
    workdir: Path,
    out: Path,
    step: int | None = None,
    average: bool = True,
    dtype: str | None = None,
) -> int:
    """Write the weights of a run's checkpoint as a model.

    Args:
        config: of the run.
        workdir: its folder.
        out: the folder to make; replaced if it is a MagDiff folder.
        step: of the checkpoint; None: the last good one.
        average: take the moving average where there is one.
        dtype: of all of them; None: float32, and for what was frozen the type that it has in the start folder.

    Returns:
        The checkpoint's step.

    Raises:
        UserError: there is no such checkpoint, or it or the start folder is damaged.
    """
    check_replaceable(out, directory.MARK)
    # Everything on one device, whatever the run had.
    single = dataclasses.replace(config, mesh=MeshConfig(data=1), batch_size=config.accumulate)
    trainer = Trainer(single, networks_of(config), jax.devices()[:1])
    with Checkpoints(workdir / "checkpoints", config.checkpoints.keep) as checkpoints:
        target = trainer.abstract_state()
        restored = checkpoints.restore(target) if step is None else checkpoints.restore_step(target, step)
    if restored is None:
        raise UserError(f"{workdir}: has no checkpoint yet")
    trained = restored.state.ema if average and restored.state.ema else restored.state.params
    start = start_folder(config, workdir)
    stored = directory.read_description(start)
    with replacing(out) as new:
        new.mkdir()
        copy_files(start / "tokenizer", new / "tokenizer")
        fingerprints = {}
        for name, network in trainer.networks.items():
            params = directory.read_component(start, name, network.shapes, stored.fingerprints[name])
            leaves = dict(flatten(params)) | {
                path: np.asarray(leaf) for path, leaf in flatten(to_params(name, trained))
            }
            typed = unflatten(
                (path, leaf if dtype is None else leaf.astype(jnp.dtype(dtype))) for path, leaf in leaves.items()
            )
            fingerprints[name] = directory.write_component(new, name, network.config, typed)
        directory.write_description(new, model_config(config), config.sampling, fingerprints)
    return restored.step
