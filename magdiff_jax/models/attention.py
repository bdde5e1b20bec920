"""Self-attention, APA's cross-attention and the GEGLU feed-forward of the transformer blocks."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from magdiff_jax.models import ops
from magdiff_jax.models.layers import Linear, gelu

# Names that start with an underscore say what an axis is, and bind no size.
Tokens = Float[Array, "batch _token _channel"]
HeadTokens = Float[Array, "batch _token _heads _dim"]
# Keys and values of the text tokens and, with APA, those of the image-prompt tokens.
KeysValues = tuple[tuple[HeadTokens, HeadTokens], ...]


def split_heads(x: Tokens, heads: int) -> HeadTokens:
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def merge_heads(x: HeadTokens) -> Tokens:
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


class SelfAttention(nnx.Module):
    """Multi-head attention of tokens over themselves; q, k, v without bias (Stable Diffusion's `attn1`).

    With `zero_out` the output projection starts at zero, so that the layer begins as no change (`temp_attn`).
    """

    def __init__(self, channels: int, heads: int, *, zero_out: bool = False, rngs: nnx.Rngs):
        self.heads = heads
        self.to_q = Linear(channels, channels, use_bias=False, rngs=rngs)
        self.to_k = Linear(channels, channels, use_bias=False, rngs=rngs)
        self.to_v = Linear(channels, channels, use_bias=False, rngs=rngs)
        self.to_out = Linear(channels, channels, zero=zero_out, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        query, key, value = (split_heads(project(x), self.heads) for project in (self.to_q, self.to_k, self.to_v))
        return self.to_out(merge_heads(ops.attention(query, key, value)))


class CrossAttention(nnx.Module):
    """Attention to the prompts; with `apa`, the paper's adaptive prompts alignment.

    text_scale · attention(q, text) + image_scale · attention(q, image), then one `to_out`. The two scales are
    learned, one pair a layer, from 1.0 and 1.5 (released code). Without `apa`: plain cross-attention to the text.
    """

    def __init__(self, channels: int, context_dim: int, heads: int, *, apa: bool, rngs: nnx.Rngs):
        self.heads = heads
        self.apa = apa
        self.to_q = Linear(channels, channels, use_bias=False, rngs=rngs)
        self.to_k = Linear(context_dim, channels, use_bias=False, rngs=rngs)
        self.to_v = Linear(context_dim, channels, use_bias=False, rngs=rngs)
        self.to_out = Linear(channels, channels, rngs=rngs)
        if apa:
            self.to_k_ip = Linear(context_dim, channels, use_bias=False, rngs=rngs)
            self.to_v_ip = Linear(context_dim, channels, use_bias=False, rngs=rngs)
            self.text_cross_attention_scale = nnx.Param(jnp.array([1.0]))
            self.image_cross_attention_scale = nnx.Param(jnp.array([1.5]))

    def keys_values(self, text: Tokens, image: Tokens | None) -> KeysValues:
        """Project the prompts. They are the same for all frames and all steps: once per sampling run is enough."""
        keys_values = ((split_heads(self.to_k(text), self.heads), split_heads(self.to_v(text), self.heads)),)
        if not self.apa:
            return keys_values
        if image is None:
            raise ValueError("APA needs image tokens")
        image_key, image_value = self.to_k_ip(image), self.to_v_ip(image)
        return (*keys_values, (split_heads(image_key, self.heads), split_heads(image_value, self.heads)))

    def __call__(self, x: Tokens, keys_values: KeysValues) -> Tokens:
        query = split_heads(self.to_q(x), self.heads)
        if self.apa:
            text, image = (ops.attention(query, key, value) for key, value in keys_values)
            mixed = self.text_cross_attention_scale[...] * text + self.image_cross_attention_scale[...] * image
        else:
            ((key, value),) = keys_values
            mixed = ops.attention(query, key, value)
        return self.to_out(merge_heads(mixed))


class FeedForward(nnx.Module):
    """GEGLU (Shazeer 2020): out(value · gelu(gate)), value and gate being the halves of one projection."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.proj = Linear(channels, 8 * channels, rngs=rngs)
        self.out = Linear(4 * channels, channels, rngs=rngs)

    def __call__(self, x: Float[Array, "*shape channel"]) -> Float[Array, "*shape channel"]:
        value, gate = jnp.split(self.proj(x), 2, axis=-1)
        return self.out(value * gelu(gate))
