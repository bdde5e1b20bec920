"""A run's compiled functions over a mesh: encode, step, validate. Holds no array itself.

Everything can be lowered from shapes alone, so that the same step is compiled for machines that are not at hand.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from magdiff_jax import runtime
from magdiff_jax.config import Config, ConfigError
from magdiff_jax.cutout import level_sizes
from magdiff_jax.data.loader import LoaderConfig
from magdiff_jax.models import build
from magdiff_jax.models.ops import traced_for
from magdiff_jax.sharding import mesh as meshes
from magdiff_jax.sharding.leaves import Leaves, select, shapes
from magdiff_jax.sharding.rules import apply_rules
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.training.contrastive import Contrast
from magdiff_jax.training.diffusion import Constants, Diffusion, Inputs
from magdiff_jax.training.flops import count_flops
from magdiff_jax.training.optimizer import learning_rate, make_optimizer, updates_taken
from magdiff_jax.training.state import TrainState, make_state, state_shardings
from magdiff_jax.training.step import Metrics, gradients, in_parts, split, update
from magdiff_jax.training.vae import Autoencoding

OBJECTIVES = {"diffusion": Diffusion, "vae": Autoencoding, "clip": Contrast}
COUNTERS = ("quarter_sums", "quarter_counts")


class Trainer:
    """See the module.

    Attributes:
        config: of the run.
        networks: by component.
        mesh: of all devices.
        shapes: of all parameters, by path; trainable ones in float32, frozen ones in the type they are held in.
        trainable, frozen: paths.
        shardings: where each parameter lies.
        objective: see `diffusion`, `vae` and `contrastive`.
        encode: (frozen, Inputs) → what the frozen encoders make of a batch.
        constants: frozen → `Constants`; for the diffusion objective only.
        step: (state, frozen, constants, encoded) → (state, metrics); the state that goes in is used up.
        validate: (params, frozen, constants, encoded, seed) → metrics, without dropout.
    """

    def __init__(self, config: TrainConfig, networks: Mapping[str, Config], devices: Sequence[Any]):
        """
        Args:
            config: of the run.
            networks: configurations of the components.
            devices: for the mesh.

        Raises:
            ConfigError: rules that do not cover each parameter once, a mesh or batch that does not fit the devices, or
                a trainable parameter that the objective does not train.
        """
        self.config = config
        config.check_devices(len(devices))
        precision = config.precision
        self.networks = {name: build(name, network, precision.compute) for name, network in networks.items()}
        self.mesh = meshes.make_mesh(config.mesh, devices)
        self.placement = meshes.make_placement(self.mesh)
        self.objective: Any = OBJECTIVES[config.objective](config, self.networks, self.placement)
        every = shapes(self.networks)
        trains = apply_rules("trainable", config.trainable, every)
        self.trainable = [path for path in every if trains[path]]
        self.frozen = [path for path in every if not trains[path]]
        self._check_trainable()
        kinds = {path: jnp.float32 if trains[path] else jnp.dtype(precision.frozen) for path in every}
        self.shapes = {path: jax.ShapeDtypeStruct(leaf.shape, kinds[path]) for path, leaf in every.items()}
        self.shardings = meshes.leaf_shardings(config.sharding, self.shapes, self.mesh)
        self._everywhere = meshes.replicated(self.mesh)
        self.optimizer = make_optimizer(config.optimizer, config.steps)
        self._learning_rate = learning_rate(config.optimizer, config.steps)

        self._platform = self.mesh.devices.flat[0].platform
        self.encode = self._jit(self._encode, out_shardings=meshes.over_batch(self.mesh))
        self.constants = self._jit(self._constants, out_shardings=self._everywhere)
        self.step = self._jit(
            self._step,
            donate_argnums=0,
            out_shardings=(self.state_shardings, self._everywhere),
            compiler_options=runtime.compiler_options(self._platform),
        )
        self.validate = self._jit(self._validate, out_shardings=self._everywhere)

    # Shapes

    @cached_property
    def state_shapes(self) -> TrainState:
        """A state's arrays as shapes."""
        return jax.eval_shape(self._make_state, select(self.shapes, self.trainable))

    @cached_property
    def state_shardings(self) -> TrainState:
        """Where a state's arrays lie."""
        params = select(self.shardings, self.trainable)
        return state_shardings(self.state_shapes, self.optimizer, params, self._everywhere)

    def abstract_state(self) -> TrainState:
        """A state's arrays as shapes that know where they lie."""
        return jax.tree.map(_placed, self.state_shapes, self.state_shardings)

    def abstract_trainable(self) -> Leaves:
        """The trainable parameters as shapes that know where they lie."""
        return {path: _placed(self.shapes[path], self.shardings[path]) for path in self.trainable}

    def abstract_frozen(self) -> Leaves:
        """The frozen parameters as shapes that know where they lie."""
        return {path: _placed(self.shapes[path], self.shardings[path]) for path in self.frozen}

    def abstract_inputs(self, images: bool = False) -> Inputs:
        """A batch as shapes that know where they lie; `images`: one of one-frame clips."""
        loader, rows = self.loader_config(images), meshes.over_batch(self.mesh)
        frames, shown = loader.frames, loader.shown
        side = loader.latent_multiple
        coverage = (frames, loader.height // side, loader.width // side) if loader.coverage else (0, 0, 0)

        def array(kind: Any, *shape: int) -> Any:
            return jax.ShapeDtypeStruct((loader.batch_size, *shape), kind, sharding=rows)

        return Inputs(
            array(jnp.uint8, frames, loader.height, loader.width, 3),
            tuple(array(jnp.uint8, shown, *size, 3) for size in self.level_sizes()),
            array(jnp.uint8, shown, loader.clip_crop, loader.clip_crop, 3),
            array(jnp.float32, *coverage),
            array(jnp.int32, self.text_length),
            array(jnp.bool_),
            array(jnp.uint32, 2),
        )

    def trace_step(self, images: bool = False) -> Any:
        """The training step, traced from shapes; `.lower().compile()` makes it a program for the mesh's devices."""
        frozen = self.abstract_frozen()
        encoded = jax.eval_shape(self._encode, frozen, self.abstract_inputs(images))
        rows = meshes.over_batch(self.mesh)
        encoded = jax.tree.map(lambda leaf: _placed(leaf, rows), encoded)
        constants: Any = None
        if self._has_constants:
            shapes = jax.eval_shape(self._constants, frozen, self._no_tokens())
            constants = jax.tree.map(lambda leaf: _placed(leaf, self._everywhere), shapes)
        return self.step.trace(self.abstract_state(), frozen, constants, encoded)

    # What follows from the config and the networks together

    @property
    def text_length(self) -> int:
        """Tokens of a prompt."""
        text: Any = self.networks["text_encoder"].config
        return text.max_position_embeddings

    def loader_config(self, images: bool = False, **changes: Any) -> LoaderConfig:
        """The loader's config, with what follows from the model; `images`: of one-frame clips."""
        unet: Any = self.networks["unet"].config
        vae: Any = self.networks["vae"].config
        values = {
            **self.config.data,
            "batch_size": self.config.batch_size,
            "levels": unet.hfa_levels,
            "latent_multiple": vae.downscale,
            "coverage": self.config.subject_weight != 1,
        }
        if not unet.apa:
            values["clip_crop"] = 0
        if not unet.apa and not unet.hfa_levels:
            values["subjects"] = "none"
        if images:
            values |= {"sources": self.config.images.sources, "batch_size": self.config.images.batch_size, "frames": 1}
        return LoaderConfig.from_dict({**values, **changes})

    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width in pixels of each level of HFA's pyramid."""
        loader = self.loader_config()
        return tuple(level_sizes(loader.levels, loader.height, loader.width, loader.latent_multiple))

    # Arrays

    def make_state(self, params: Leaves) -> TrainState:
        """The state before the first step, from trainable parameters that are used up; each device makes its part."""
        return jax.jit(self._make_state, out_shardings=self.state_shardings, donate_argnums=0)(params)

    def make_constants(self, frozen: Leaves, no_tokens: np.ndarray) -> Constants | None:
        """What every step uses besides the batch; `no_tokens`: ids of the empty prompt, [1, token]."""
        return self.constants(frozen, no_tokens) if self._has_constants else None

    # Functions to compile

    def _make_state(self, params: Leaves) -> TrainState:
        config = self.config
        first_scale = config.precision.loss_scale if self._scales_loss else 1.0
        return make_state(params, self.optimizer, config.seed, first_scale, config.optimizer.ema > 0)

    def _encode(self, frozen: Leaves, inputs: Inputs) -> Any:
        return in_parts(partial(self.objective.encode, frozen), inputs, self.config.accumulate)

    def _constants(self, frozen: Leaves, no_tokens: Array) -> Constants:
        return self.objective.constants(frozen, self.level_sizes(), self.loader_config().clip_crop, no_tokens)

    def _step(self, state: TrainState, frozen: Leaves, constants: Any, encoded: Any) -> tuple[TrainState, Metrics]:
        def losses(leaves: Leaves, part: Any) -> Any:
            return self.objective.losses(
                leaves, meshes.place_batch(self.mesh, part), constants, state.seed, training=True
            )

        scale = state.loss_scale.scale if self._scales_loss else None
        grads, metrics = gradients(losses, state.params, frozen, encoded, self.config.accumulate, scale)
        growth = self.config.precision.growth_interval if self._scales_loss else None
        rate = self._learning_rate(updates_taken(state.opt_state))
        state, further = update(state, grads, self.optimizer, self.config.optimizer, growth)
        return state, {**metrics, **further, "learning_rate": rate, **_apa_scales(state.params)}

    def _validate(self, params: Leaves, frozen: Leaves, constants: Any, encoded: Any, seed: Array) -> Metrics:
        def of_part(part: Any) -> tuple[Array, Metrics]:
            leaves = {**params, **frozen}
            each, metrics = self.objective.losses(
                leaves, meshes.place_batch(self.mesh, part), constants, seed, training=False
            )
            return each.mean(), {name: metrics[name] for name in COUNTERS if name in metrics}

        losses, counters = jax.lax.map(of_part, split(encoded, self.config.accumulate))
        return {"loss": losses.mean(), **{name: values.sum(axis=0) for name, values in counters.items()}}

    # Small matters

    def _jit(self, function: Callable[..., Any], **options: Any) -> Any:
        """`function` compiled for the mesh's devices, under its own name."""
        return jax.jit(traced_for(self._platform)(function), **options)

    @property
    def _scales_loss(self) -> bool:
        return self.config.precision.compute == "float16"

    @property
    def _has_constants(self) -> bool:
        return hasattr(self.objective, "constants")

    def _no_tokens(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, self.text_length), jnp.int32)

    def _check_trainable(self) -> None:
        allowed = tuple(f"{name}/" for name in self.objective.trained)
        if not self.trainable:
            raise ConfigError("trainable: no parameter is")
        if wrong := [path for path in self.trainable if not path.startswith(allowed)]:
            names = " and ".join(self.objective.trained)
            raise ConfigError(f"trainable: {wrong[0]}: objective {self.config.objective!r} trains {names} only")


def model_flops(trainer: Trainer) -> float:
    """FLOPs of a training step on each device, as `flops.count_flops` counts, without what remat computes again and
    without the frozen encoders."""
    devices = list(trainer.mesh.devices.flat)
    if trainer.config.remat:
        networks = {name: network.config for name, network in trainer.networks.items()}
        trainer = Trainer(dataclasses.replace(trainer.config, remat=False), networks, devices)
    return count_flops(trainer.trace_step().jaxpr.jaxpr) / len(devices)


def _placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _apa_scales(params: Leaves) -> Metrics:
    """APA's two learned scales, averaged over the cross-attentions of each level of the U-Net."""
    levels: dict[str, list[Array]] = {}
    for path, leaf in params.items():
        for prompt in ("text", "image"):
            if path.endswith(f"{prompt}_cross_attention_scale"):
                level = ".".join(path.split("/")[1:3]).removesuffix(".attentions")
                levels.setdefault(f"apa/{prompt}/{level}", []).append(leaf.mean())
    return {name: jnp.stack(scales).mean() for name, scales in levels.items()}
