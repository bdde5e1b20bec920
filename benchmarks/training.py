"""What `benchmarks.train` measures: the training step without the frozen encoders, and the same in PyTorch.

The clip's latents, its prompts' tokens, the timestep and the noise are given; what the paper trains of the U-Net is
trained. No dropout on either side.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.cases import TEXT_TOKENS, TIMESTEP, Size, clip_shapes, random_inputs
from benchmarks.compare import torch_inputs, torch_unet
from configs.magdiff_sd21_256 import TRAINABLE
from magdiff_jax.data import LoaderConfig, make_loader
from magdiff_jax.models.network import Network, Params
from magdiff_jax.sharding.leaves import Leaves, to_leaves, to_params
from magdiff_jax.sharding.rules import apply_rules
from magdiff_jax.training.optimizer import OptimizerConfig, make_optimizer
from magdiff_jax.training.state import TrainState, make_state
from magdiff_jax.training.step import gradients, update
from magdiff_jax.weights.table import table

OPTIMIZER = OptimizerConfig(warmup_steps=0)


def trained(leaves: Leaves) -> dict[str, bool]:
    """By path, whether the paper trains it."""
    return apply_rules("trainable", TRAINABLE, leaves)


def inputs(size: Size, batch: int, dtype: str) -> tuple[jax.Array, ...]:
    """Noisy latents, text tokens, image tokens and subject as for the forward pass, and the noise to be predicted."""
    shapes = clip_shapes(size, batch)
    return random_inputs(dtype, *shapes, shapes[0])


def step_arguments(size: Size, network: Network, params: Params, batch: int) -> tuple[Any, ...]:
    """A fresh state, which copies what is trained, the frozen parameters, and the `inputs`."""
    leaves = to_leaves("unet", params)
    trains = trained(leaves)
    masters = {path: jnp.array(leaf, jnp.float32, copy=True) for path, leaf in leaves.items() if trains[path]}
    state = jax.jit(lambda params: make_state(params, _optimizer(), 0, 1.0, False), donate_argnums=0)(masters)
    frozen = {path: leaf for path, leaf in leaves.items() if not trains[path]}
    return state, frozen, *inputs(size, batch, network.dtype)


def step_function(network: Network, remat: bool) -> Callable[..., tuple[TrainState, jax.Array]]:
    """`step_arguments` → the new state, and the loss."""

    def losses(leaves: Leaves, part: tuple[Any, ...]) -> tuple[jax.Array, dict[str, jax.Array]]:
        unet = to_params("unet", leaves)
        noisy, text, image, subject, noise = part
        condition = network.apply(unet, text, image, (subject,), method="condition")
        prediction = network.apply(unet, noisy, jnp.full(len(noisy), TIMESTEP), condition, remat=remat)
        return jnp.square(prediction.astype(jnp.float32) - noise).mean(axis=range(1, noise.ndim)), {}

    def step(state: TrainState, frozen: Leaves, *part: Any) -> tuple[TrainState, jax.Array]:
        grads, metrics = gradients(losses, state.params, frozen, part, 1, state.loss_scale.scale)
        return update(state, grads, _optimizer(), OPTIMIZER, None)[0], metrics["loss"]

    return step


def _optimizer() -> optax.GradientTransformation:
    return make_optimizer(OPTIMIZER, steps=1)


def loader(size: Size, batch: int) -> Iterator[Any]:
    """EmojiMotion with all that MagDiff takes, in the size of these latents; two threads make batches ahead."""
    side = size.latent * size.vae.downscale
    source = {"kind": "emoji_motion", "split": "train", "length": 100_000, "size": side, "frames": size.frames}
    sizes = {"frames": size.frames, "height": side, "width": side, "levels": size.unet.hfa_levels}
    config = LoaderConfig(sources=(source,), batch_size=batch, **sizes)
    return iter(make_loader(config, lambda prompts: np.zeros((len(prompts), TEXT_TOKENS), np.int32)))


def torch_step(size: Size, network: Network, params: Params, batch: int, remat: bool) -> Callable[[], float]:
    """PyTorch's step, with `remat` checkpointed layer by layer; returns a function that steps and gives the loss."""
    import torch
    from torch.utils.checkpoint import checkpoint

    unet = torch_unet(size, network, params)
    trains = trained(to_leaves("unet", params))
    by_name = dict(unet.named_parameters())
    for entry in table(network):
        by_name[entry.name].requires_grad_(trains["/".join(map(str, ("unet", *entry.path)))])
    if remat:
        for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
            block.layer = partial(checkpoint, block.layer, use_reentrant=False)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in by_name.values() if parameter.requires_grad],
        lr=OPTIMIZER.learning_rate,
        betas=(OPTIMIZER.b1, OPTIMIZER.b2),
        eps=OPTIMIZER.epsilon,
        weight_decay=OPTIMIZER.weight_decay,
    )
    *given, noise = inputs(size, batch, network.dtype)
    arrays = torch_inputs(tuple(given), network.dtype)
    target = torch.from_numpy(np.moveaxis(np.asarray(noise, np.float32), -1, 1).copy())

    def step() -> float:
        loss = (unet(*arrays).float() - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
