"""VidRD's temporal parts: the frame embedding and the temporal convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from magdiff_jax.models.layers import FrameConv, GroupNorm

Video = Float[Array, "batch frame _height _width _channel"]

# One for each clip, so that what is dropped does not depend on the batch that a clip is in.
Keys = Key[Array, " batch"]

DROPOUT_RATE = 0.1


def frame_embedding(frames: int, channels: int) -> Float[np.ndarray, "frame channel"]:
    """Sinusoids of the frame index: sine in the even channels, cosine in the odd (Vaswani et al. 2017, 3.5)."""
    frequencies = np.exp(np.arange(0, channels, 2) * (-np.log(10000.0) / channels))
    angles = np.arange(frames)[:, None] * frequencies
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(frames, channels).astype(np.float32)


def fold_in(keys: Keys, index: int) -> Keys:
    """`jax.random.fold_in` for each key."""
    return jax.vmap(lambda key: jax.random.fold_in(key, index))(keys)


def dropout(x: Float[Array, "batch *shape"], keys: Keys) -> Float[Array, "batch *shape"]:
    """Zero each number with probability DROPOUT_RATE, to the 16th binary digit; the others grow to make up for it."""
    bits = jax.vmap(lambda key: jax.random.bits(key, x.shape[1:], jnp.uint16))(keys)
    return jnp.where(bits < round((1 - DROPOUT_RATE) * 2**16), x / (1 - DROPOUT_RATE), 0)


class TemporalConvs(nnx.Module):
    """`layers` times GroupNorm → SiLU → dropout → convolution over the frames, added to the input.

    The last convolution starts at zero. A single frame (an image) passes unchanged. The U-Net has four layers,
    VidRD's VAE decoder three. Dropout acts where keys are given (training).

    The released code has 32 groups here, whatever its configuration says; widths that 32 does not divide, which it
    cannot build, take `groups`.
    """

    def __init__(self, channels: int, layers: int, groups: int, *, rngs: nnx.Rngs):
        groups = groups if channels % 32 else 32
        self.norms = nnx.List([GroupNorm(channels, groups, 1e-5) for _ in range(layers)])
        self.convs = nnx.List([FrameConv(channels, zero=i == layers - 1, rngs=rngs) for i in range(layers)])

    def __call__(self, x: Video, dropout_keys: Keys | None = None) -> Video:
        if x.shape[1] == 1:
            return x
        hidden = x
        for index, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            hidden = norm(hidden, silu=True)
            if dropout_keys is not None:
                hidden = dropout(hidden, fold_in(dropout_keys, index))
            hidden = conv(hidden)
        return x + hidden
