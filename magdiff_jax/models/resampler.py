"""The image-prompt resampler: a perceiver that turns vision tokens into a few prompt tokens.

Perceiver attention as in Flamingo (Alayrac et al. 2022, appendix A.1.1), in the form of the released code.
"""

import jax.numpy as jnp
from flax import nnx

from magdiff_jax.models import ops
from magdiff_jax.models.attention import Tokens, merge_heads, split_heads
from magdiff_jax.models.configs import ResamplerConfig
from magdiff_jax.models.layers import LayerNorm, Linear, gelu


class PerceiverAttention(nnx.Module):
    """The latents attend to the features and to themselves."""

    def __init__(self, config: ResamplerConfig, *, rngs: nnx.Rngs):
        self.heads = config.heads
        inner = config.heads * config.dim_head
        self.norm1 = LayerNorm(config.dim)
        self.norm2 = LayerNorm(config.dim)
        self.to_q = Linear(config.dim, inner, use_bias=False, rngs=rngs)
        self.to_kv = Linear(config.dim, 2 * inner, use_bias=False, rngs=rngs)
        self.to_out = Linear(inner, config.dim, use_bias=False, rngs=rngs)

    def __call__(self, latents: Tokens, features: Tokens) -> Tokens:
        latents = self.norm2(latents)
        query = split_heads(self.to_q(latents), self.heads)
        both = jnp.concatenate([self.norm1(features), latents], axis=1)
        key, value = (split_heads(t, self.heads) for t in jnp.split(self.to_kv(both), 2, axis=-1))
        return self.to_out(merge_heads(ops.attention(query, key, value)))


class FeedForward(nnx.Module):
    """LayerNorm → linear → GELU → linear, without bias."""

    def __init__(self, config: ResamplerConfig, *, rngs: nnx.Rngs):
        self.norm = LayerNorm(config.dim)
        self.proj = Linear(config.dim, config.ff_mult * config.dim, use_bias=False, rngs=rngs)
        self.out = Linear(config.ff_mult * config.dim, config.dim, use_bias=False, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        return self.out(gelu(self.proj(self.norm(x))))


class Layer(nnx.Module):
    def __init__(self, config: ResamplerConfig, *, rngs: nnx.Rngs):
        self.attention = PerceiverAttention(config, rngs=rngs)
        self.feed_forward = FeedForward(config, rngs=rngs)

    def __call__(self, latents: Tokens, features: Tokens) -> Tokens:
        latents = latents + self.attention(latents, features)
        return latents + self.feed_forward(latents)


class Resampler(nnx.Module):
    """Vision tokens of one image → `num_queries` image-prompt tokens."""

    def __init__(self, config: ResamplerConfig, *, rngs: nnx.Rngs):
        normal = nnx.initializers.normal(config.dim**-0.5)
        self.latents = nnx.Param(normal(rngs.params(), (1, config.num_queries, config.dim)))
        self.proj_in = Linear(config.embedding_dim, config.dim, rngs=rngs)
        self.layers = nnx.List([Layer(config, rngs=rngs) for _ in range(config.depth)])
        self.proj_out = Linear(config.dim, config.output_dim, rngs=rngs)
        self.norm_out = LayerNorm(config.output_dim)

    def __call__(self, features: Tokens) -> Tokens:
        """[batch, token, embedding_dim] → [batch, num_queries, output_dim]."""
        latents = jnp.broadcast_to(self.latents[...], (features.shape[0], *self.latents.shape[1:]))
        features = self.proj_in(features)
        for layer in self.layers:
            latents = layer(latents, features)
        return self.norm_out(self.proj_out(latents))
