"""Every network computes in the type that it is asked for, its input and output included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.models import ClipTextConfig, ResamplerConfig, VAEConfig, VisionConfig, build

IMAGE = np.ones((1, 32, 32, 3), np.float32)
CASES: dict[str, tuple[Any, str, tuple[Any, ...]]] = {
    "text_encoder": (
        ClipTextConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2),
        "__call__",
        (jnp.arange(6)[None],),
    ),
    "vision": (VisionConfig(32, 16, 8, 1, 2, 2.0, 4), "__call__", (IMAGE,)),
    "resampler": (ResamplerConfig(8, 1, 4, 2, 3, 8, 8), "__call__", (np.ones((1, 5, 8), np.float32),)),
    "vae": (VAEConfig(block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4), "encode", (IMAGE,)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_output_has_the_compute_dtype(name: str, dtype: str) -> None:
    config, method, inputs = CASES[name]
    network = build(name, config, dtype)
    outputs = jax.eval_shape(lambda params: network.apply(params, *inputs, method=method), network.shapes)
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype(dtype)}
