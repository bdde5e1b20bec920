"""A config small enough to compile in seconds, for the command and for `Trainer` alike."""

import functools
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import magdiff_sd21_256, small
from magdiff_jax.config import Config
from magdiff_jax.data.loader import make_loader
from magdiff_jax.models import build
from magdiff_jax.sharding.leaves import Leaves, to_leaves
from magdiff_jax.sharding.mesh import to_global
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.training.diffusion import to_inputs
from magdiff_jax.training.start import networks_of
from magdiff_jax.training.state import TrainState
from magdiff_jax.training.trainer import Trainer

SIZE = 16
# Compiling takes time by the layer, so there are few of them: one level, and attention between its two halves alone.
NETWORKS = {
    "unet": {
        "block_out_channels": (16,),
        "down_block_types": ("DownBlock3D",),
        "up_block_types": ("UpBlock3D",),
        "layers_per_block": 1,
        "num_attention_heads": (2,),
        "cross_attention_dim": 16,
        "norm_num_groups": 8,
        "hfa_levels": (24, 16),
    },
    "vae": {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4, "scaling_factor": 1.0},
    "text_encoder": {
        "vocab_size": 700,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
    },
    "vision": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "heads": 2, "output_dim": 16},
    "resampler": {
        "dim": 16,
        "depth": 1,
        "dim_head": 8,
        "heads": 2,
        "num_queries": 2,
        "embedding_dim": 16,
        "output_dim": 16,
    },
}


ATTENTIVE = {**NETWORKS["unet"], "down_block_types": ("CrossAttnDownBlock3D",)}


def emoji(split: str, length: int) -> dict[str, Any]:
    return {"kind": "emoji_motion", "split": split, "length": length, "size": SIZE, "frames": 4}


def get_config() -> ConfigDict:
    config = small.get_config()
    config.steps = 6
    config.batch_size = 8
    config.trainable = magdiff_sd21_256.TRAINABLE
    config.start = {"folder": "", "networks": NETWORKS, "tokenizer": "captions"}
    config.data.update(sources=(emoji("train", 40),), height=SIZE, width=SIZE, clip_crop=SIZE, frames=4, threads=0)
    config.validation.update(
        sources=(emoji("validation", 8),), every=3, batches=1, sample_every=0, samples=1, sampling_steps=2
    )
    config.schedule = {"prediction_type": "epsilon"}
    config.sampling = {"prediction_type": "epsilon"}
    config.optimizer.update(learning_rate=1e-3, schedule="constant", warmup_steps=2, clip_norm=1.0, ema=0.9)
    config.checkpoints.update(every=3, keep=2)
    config.log_every = 2
    return config


def make_config(**changes: Any) -> TrainConfig:
    """The config with some values changed; a dict changes what is below it."""
    config = get_config()
    for key, value in changes.items():
        if isinstance(config[key], ConfigDict) and isinstance(value, dict):
            config[key].update(value)
        else:
            config[key] = value
    return TrainConfig.from_dict(config.to_dict())


def copied(arrays: Any) -> Any:
    """A copy, which a step may use up; not `jnp.copy`, which compiles a program for each shape."""
    return jax.tree.map(lambda leaf: jax.device_put(leaf, leaf.sharding, may_alias=False), arrays)


class Run(NamedTuple):
    """A trainer with all arrays of a step, from fresh parameters."""

    trainer: Trainer
    state: TrainState
    frozen: Leaves
    constants: Any
    encoded: Any

    def steps(self, count: int) -> tuple[TrainState, list[dict[str, np.ndarray]]]:
        """Steps on the same batch from a copy of the state, which stays; the state after them and their metrics."""
        state = copied(self.state)
        metrics = []
        for _ in range(count):
            state, each = self.trainer.step(state, self.frozen, self.constants, self.encoded)
            metrics.append(jax.device_get(each))
        return state, metrics


def make_run(devices: int = 1, one_frame: bool = False, **changes: Any) -> Run:
    """A run over some of this process's devices, on the first batch of its own data."""
    config = make_config(**changes)
    trainer = Trainer(config, networks_of(config), jax.devices()[:devices])
    placed = {**trainer.abstract_trainable(), **trainer.abstract_frozen()}
    leaves = {
        path: jax.device_put(value.astype(placed[path].dtype), placed[path].sharding)
        for index, (name, network) in enumerate(trainer.networks.items())
        for path, value in _fresh(name, network.config, index).items()
    }
    frozen = {path: leaves[path] for path in trainer.frozen}
    state = trainer.make_state({path: leaves[path] for path in trainer.trainable})
    constants = trainer.make_constants(frozen, words([""]))
    with make_loader(trainer.loader_config(images=one_frame), words) as loader:
        inputs = to_global(trainer.mesh, to_inputs(next(loader)))
    return Run(trainer, state, frozen, constants, trainer.encode(frozen, inputs))


@functools.cache
def _fresh(name: str, config: Config, seed: int) -> dict[str, np.ndarray]:
    return jax.device_get(to_leaves(name, build(name, config).init(jax.random.key(seed))))


def words(prompts: Sequence[str]) -> np.ndarray:
    """Ids of prompts without a tokenizer: a number for each word."""
    length, size = NETWORKS["text_encoder"]["max_position_embeddings"], NETWORKS["text_encoder"]["vocab_size"]
    ids = [[1 + zlib.crc32(word.encode()) % (size - 1) for word in prompt.split()][:length] for prompt in prompts]
    return np.array([row + [0] * (length - len(row)) for row in ids], np.int32)
