"""CLIP's objective, for models that start from nothing."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8, UInt32

from magdiff_jax.conditioning import to_pixels
from magdiff_jax.models import Network
from magdiff_jax.models.unet import Placement
from magdiff_jax.sharding.leaves import Leaves, to_params
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.training.diffusion import Inputs, Losses

# CLIP's first temperature (Radford et al. 2021, section 2.5). CLIP learns it; Stable Diffusion's files have no place
# for one, as they have none for a projection of the text: a prompt's embedding is its last token's, as wide as an
# image's.
TEMPERATURE = 0.07


class Pairs(NamedTuple):
    """Prompts and two views of each: the first frame, and the subject as MagDiff will show it to the vision tower."""

    tokens: Int[Array, "batch token"]
    views: tuple[UInt8[Array, "batch _height _width 3"], ...]
    positions: UInt32[Array, "batch 2"]


class Contrast:
    """Which prompt of the batch belongs to an image, and which image to a prompt (Radford et al. 2021, section 2.3):
    the mean of both cross-entropies, of cosine similarities divided by the temperature.

    Attributes:
        trained: the components whose parameters may be trainable.
    """

    trained = ("text_encoder", "vision")

    def __init__(self, config: TrainConfig, networks: Mapping[str, Network], placement: Placement):
        self._networks = networks
        self._placement = placement

    def encode(self, frozen: Leaves, inputs: Inputs) -> Pairs:
        """Nothing is frozen that the towers need: the pictures themselves."""
        return Pairs(inputs.tokens, (inputs.frames[:, 0], inputs.image_prompts[:, 0]), inputs.positions)

    def losses(
        self, params: Leaves, encoded: Pairs, constants: Any, seed: UInt32[Array, "2"], training: bool
    ) -> tuple[Losses, dict[str, Array]]:
        """Each example's loss, and the share of images whose own prompt is the nearest, by view."""
        text = embed_text(self._networks["text_encoder"], self._of("text_encoder", params), encoded.tokens)
        losses, metrics = jnp.zeros(len(text)), {}
        for name, view in zip(("frame", "subject"), encoded.views, strict=True):
            images = embed_images(self._networks["vision"], self._of("vision", params), view)
            logits = images @ text.T / TEMPERATURE
            pairs = (jax.nn.log_softmax(logits, axis).diagonal() for axis in (0, 1))
            losses -= sum(pairs) / (2 * len(encoded.views))
            metrics[f"accuracy/{name}"] = (logits.argmax(axis=1) == jnp.arange(len(text))).mean()
        return losses, metrics

    def _of(self, component: str, params: Leaves) -> Any:
        return self._placement.parameters(to_params(component, params))


def embed_text(network: Network, params: Any, tokens: Int[Array, "batch token"]) -> Float[Array, "batch channel"]:
    """Embeddings of length 1: of the token that ends the prompt, which has the largest id (CLIP's released code)."""
    hidden = network.apply(params, tokens)
    return _normalised(hidden[jnp.arange(len(tokens)), tokens.argmax(axis=1)])


def embed_images(network: Network, params: Any, images: UInt8[Array, "batch _h _w 3"]) -> Float[Array, "batch channel"]:
    """Embeddings of length 1."""
    pixels = network.apply(params, to_pixels(images), method="preprocess")
    return _normalised(network.apply(params, pixels, method="embed"))


def _normalised(vectors: Float[Array, "batch channel"]) -> Float[Array, "batch channel"]:
    vectors = vectors.astype(jnp.float32)
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
