"""OpenCLIP's vision tower and its preprocessing; names are PyTorch's (`visual.…`)."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from magdiff_jax.models import ops
from magdiff_jax.models.attention import Tokens, merge_heads, split_heads
from magdiff_jax.models.configs import VisionConfig
from magdiff_jax.models.layers import Conv2d, LayerNorm, Linear, gelu

# OpenAI CLIP's statistics of RGB pixels in [0, 1].
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def gaussian_matrix(size: int, sigma: float, taps: int) -> Float[np.ndarray, "size size"]:
    """Blur of a line of `size` pixels by a normalised Gaussian of `taps` (odd) taps, mirrored at the ends."""
    offsets = np.arange(taps) - taps // 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    source = np.abs(np.arange(size)[:, None] + offsets)
    source = np.where(source > size - 1, 2 * (size - 1) - source, source)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), weights / weights.sum())
    return matrix


def bicubic_matrix(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Bicubic interpolation (Keys' kernel, a = -0.75) with aligned corners, edges repeated: PyTorch's `interpolate`."""
    a = -0.75
    # PyTorch rounds the positions to float32, which shows in the fifth digit of a large picture.
    position = np.arange(new, dtype=np.float32) * np.float32((old - 1) / max(new - 1, 1))
    taps = np.floor(position).astype(int)[:, None] + np.arange(-1, 3)
    distance = np.abs(position[:, None] - taps)
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new)[:, None], taps.clip(0, old - 1)), np.where(distance <= 1, near, far))
    return matrix


def resize_matrix(old: int, new: int, blur: bool) -> Float[np.ndarray, "new old"]:
    """One axis of kornia's `resize(interpolation="bicubic", align_corners=True, antialias=True)`.

    `blur`: whether the image shrinks on either axis; kornia then blurs both, with σ = max((old/new - 1)/2, 0.001)
    and 4σ taps, at least 3 and made odd.
    """
    matrix = bicubic_matrix(old, new)
    if not blur:
        return matrix
    sigma = max((old / new - 1) / 2, 0.001)
    taps = int(max(4 * sigma, 3))
    return matrix @ gaussian_matrix(old, sigma, taps + 1 - taps % 2)


def preprocess(images: Float[Array, "batch height width 3"], size: int) -> Float[Array, "batch size size 3"]:
    """RGB images in [-1, 1] → resized to size x size and normalised for CLIP (released code)."""
    height, width = images.shape[1:3]
    blur = max(height, width) > size
    rows, columns = (jnp.asarray(resize_matrix(old, size, blur), images.dtype) for old in (height, width))
    resized = jnp.einsum("ih,bhwc,jw->bijc", rows, images, columns)
    return ((resized + 1) / 2 - jnp.array(PIXEL_MEAN, images.dtype)) / jnp.array(PIXEL_STD, images.dtype)


class Attention(nnx.Module):
    """Self-attention with q, k and v in one projection (torch.nn.MultiheadAttention)."""

    def __init__(self, channels: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.in_proj = Linear(channels, 3 * channels, rngs=rngs)
        self.out_proj = Linear(channels, channels, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        query, key, value = (split_heads(t, self.heads) for t in jnp.split(self.in_proj(x), 3, axis=-1))
        return self.out_proj(merge_heads(ops.attention(query, key, value)))


class MLP(nnx.Module):
    def __init__(self, channels: int, hidden: int, *, rngs: nnx.Rngs):
        self.c_fc = Linear(channels, hidden, rngs=rngs)
        self.c_proj = Linear(hidden, channels, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        return self.c_proj(gelu(self.c_fc(x)))


class ResidualBlock(nnx.Module):
    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.ln_1 = LayerNorm(config.width)
        self.attn = Attention(config.width, config.heads, rngs=rngs)
        self.ln_2 = LayerNorm(config.width)
        self.mlp = MLP(config.width, int(config.width * config.mlp_ratio), rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nnx.Module):
    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.resblocks = nnx.List([ResidualBlock(config, rngs=rngs) for _ in range(config.layers)])

    def __call__(self, x: Tokens) -> Tokens:
        for block in self.resblocks:
            x = block(x)
        return x


class ClipVision(nnx.Module):
    """Images → tokens for the resampler, or one embedding for measuring likeness."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.config = config
        patch, width = config.patch_size, config.width
        self.conv1 = Conv2d(3, width, patch, stride=patch, padding=(0, 0), use_bias=False, rngs=rngs)
        normal = nnx.initializers.normal(width**-0.5)
        self.class_embedding = nnx.Param(normal(rngs.params(), (width,)))
        self.positional_embedding = nnx.Param(normal(rngs.params(), (config.num_tokens, width)))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(config, rngs=rngs)
        self.ln_post = LayerNorm(width)
        self.proj = nnx.Param(normal(rngs.params(), (width, config.output_dim)))

    def preprocess(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch size size 3"]:
        """RGB images in [-1, 1], of any size → what `__call__` takes."""
        if self.config.bgr:
            images = images[..., ::-1]
        return preprocess(images, self.config.image_size)

    def __call__(self, images: Float[Array, "batch size size 3"]) -> Tokens:
        """Preprocessed images → all tokens after the last block, class token first, without `ln_post`."""
        patches = self.conv1(images).reshape(images.shape[0], -1, self.config.width)
        first = jnp.broadcast_to(self.class_embedding[...], (images.shape[0], 1, self.config.width))
        tokens = jnp.concatenate([first, patches], axis=1) + self.positional_embedding[...]
        return self.transformer(self.ln_pre(tokens))

    def embed(self, images: Float[Array, "batch size size 3"]) -> Float[Array, "batch output"]:
        """Preprocessed images → CLIP image embeddings (not normalised): projected class token after `ln_post`."""
        return self.ln_post(self(images)[:, 0]) @ self.proj[...]
