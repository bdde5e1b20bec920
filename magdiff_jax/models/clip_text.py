"""CLIP's text tower (Radford et al. 2021), as in transformers' CLIPTextModel; names are PyTorch's."""

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from magdiff_jax.models import ops
from magdiff_jax.models.attention import Tokens, merge_heads, split_heads
from magdiff_jax.models.configs import ClipTextConfig
from magdiff_jax.models.layers import LayerNorm, Linear, gelu


def quick_gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """OpenAI CLIP's approximation: x · sigmoid(1.702 x)."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS = {"gelu": gelu, "quick_gelu": quick_gelu}


class CausalAttention(nnx.Module):
    """Each token attends to itself and the tokens before it."""

    def __init__(self, channels: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.q_proj = Linear(channels, channels, rngs=rngs)
        self.k_proj = Linear(channels, channels, rngs=rngs)
        self.v_proj = Linear(channels, channels, rngs=rngs)
        self.out_proj = Linear(channels, channels, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        query, key, value = (split_heads(p(x), self.heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(merge_heads(ops.attention(query, key, value, causal=True)))


class MLP(nnx.Module):
    def __init__(self, config: ClipTextConfig, *, rngs: nnx.Rngs):
        self.hidden_act = config.hidden_act
        self.fc1 = Linear(config.hidden_size, config.intermediate_size, rngs=rngs)
        self.fc2 = Linear(config.intermediate_size, config.hidden_size, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        return self.fc2(ACTIVATIONS[self.hidden_act](self.fc1(x)))


class EncoderLayer(nnx.Module):
    def __init__(self, config: ClipTextConfig, *, rngs: nnx.Rngs):
        self.layer_norm1 = LayerNorm(config.hidden_size)
        self.self_attn = CausalAttention(config.hidden_size, config.num_attention_heads, rngs=rngs)
        self.layer_norm2 = LayerNorm(config.hidden_size)
        self.mlp = MLP(config, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nnx.Module):
    def __init__(self, config: ClipTextConfig, *, rngs: nnx.Rngs):
        self.token_embedding = nnx.Embed(config.vocab_size, config.hidden_size, rngs=rngs)
        self.position_embedding = nnx.Embed(config.max_position_embeddings, config.hidden_size, rngs=rngs)

    def __call__(self, ids: Int[Array, "batch token"]) -> Tokens:
        # Not by Flax's call, which would compute in float32 whatever the parameters are cast to.
        tokens, positions = self.token_embedding.embedding[...], self.position_embedding.embedding[...]
        return tokens[ids] + positions[: ids.shape[1]]


class Encoder(nnx.Module):
    def __init__(self, config: ClipTextConfig, *, rngs: nnx.Rngs):
        self.layers = nnx.List([EncoderLayer(config, rngs=rngs) for _ in range(config.num_hidden_layers)])

    def __call__(self, x: Tokens) -> Tokens:
        for layer in self.layers:
            x = layer(x)
        return x


class TextModel(nnx.Module):
    def __init__(self, config: ClipTextConfig, *, rngs: nnx.Rngs):
        self.embeddings = Embeddings(config, rngs=rngs)
        self.encoder = Encoder(config, rngs=rngs)
        self.final_layer_norm = LayerNorm(config.hidden_size)


class ClipText(nnx.Module):
    """Token ids → prompt tokens."""

    def __init__(self, config: ClipTextConfig, *, rngs: nnx.Rngs):
        self.text_model = TextModel(config, rngs=rngs)

    def __call__(self, ids: Int[Array, "batch token"]) -> Tokens:
        """ids in 0 … vocab_size - 1, at most `max_position_embeddings` of them → the last hidden state, normalised."""
        model = self.text_model
        return model.final_layer_norm(model.encoder(model.embeddings(ids)))
