"""A background's colour, read from a clip whose subject may be anywhere in front of it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from magdiff_jax.data.clip import Frames
from magdiff_jax.data.emoji.backgrounds import COLOURS

# Levels within which a pixel counts as of a colour: over what blur, noise and a shift of ten levels do, and under the
# distance between two colours (44 between brown and the shade of red).
_NEAR = 25.0
# Of the frame's shorter side: how fast a pixel's vote falls from the border, which subjects keep clear of, inwards.
_RIM = 0.1
# How far beyond the colour and its shade, in units of their distance, a texture still goes.
_BEYOND = 0.25


class Tint(NamedTuple):
    """A background's colour as a clip has it.

    Attributes:
        name: one of `COLOURS`.
        plain: red, green and blue of the colour itself, 0 to 255.
        shade: of the shade that draws the texture.
    """

    name: str
    plain: Float[np.ndarray, "3"]
    shade: Float[np.ndarray, "3"]

    def amounts(self, pixels: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape"]:
        """How much of the shade is in each pixel: about 0 to 1, and at most a quarter beyond."""
        way = self.shade - self.plain
        return np.clip((pixels - self.plain) @ (way / (way @ way)), -_BEYOND, 1 + _BEYOND)

    def offsets(self, pixels: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
        """From the nearest mixture of colour and shade to each pixel, in levels."""
        return pixels - self.plain - self.amounts(pixels)[..., None] * (self.shade - self.plain)


def read_tint(frames: Frames) -> Tint:
    """The one of the twelve colours, with its shade, that most pixels have; those at the border count most.

    The tint is moved to what these pixels are on average, so that a clip that is a little too dark has no subject
    everywhere.
    """
    pixels = frames.astype(np.float32)
    votes = _votes(*frames.shape[1:3])
    tints = [Tint(name, *np.array(levels, np.float32)) for name, levels in COLOURS.items()]
    nearness = [_nearness(tint, pixels) * votes for tint in tints]
    best = int(np.argmax([near.sum() for near in nearness]))
    tint, weights = tints[best], nearness[best]
    shift = np.einsum("fhw,fhwc->c", weights, tint.offsets(pixels)) / max(float(weights.sum()), 1e-6)
    return tint._replace(plain=tint.plain + shift, shade=tint.shade + shift)


def _nearness(tint: Tint, pixels: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape"]:
    offsets = tint.offsets(pixels)
    return np.exp(np.einsum("...c,...c", offsets, offsets) / (-2 * _NEAR**2))


def _votes(height: int, width: int) -> Float[np.ndarray, "{height} {width}"]:
    """Of each pixel: 1 at the border, little in the middle."""
    down, across = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in (height, width))
    inwards = np.minimum(down[:, None], across[None])
    return np.exp(-inwards / (_RIM * min(height, width))).astype(np.float32)
