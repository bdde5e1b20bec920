"""Tiny checkpoints of random weights with the names, layouts and files of PyTorch's programs."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from magdiff_jax.config import Config
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.models import (
    ClipTextConfig,
    Network,
    ResamplerConfig,
    UNetConfig,
    VAEConfig,
    VisionConfig,
    build,
)
from magdiff_jax.tokenizer import learn_tokenizer
from magdiff_jax.weights import torch_configs
from magdiff_jax.weights.files import write_json, write_pickle, write_safetensors
from magdiff_jax.weights.sources import FRESH_GROUPS
from magdiff_jax.weights.table import other_name, table
from tests.captions import CAPTIONS

Arrays = dict[str, np.ndarray]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# What Stable Diffusion has not.
NOT_STABLE_DIFFUSION = "|".join(FRESH_GROUPS)

UNET = UNetConfig(
    block_out_channels=(8,),
    down_block_types=("CrossAttnDownBlock3D",),
    up_block_types=("CrossAttnUpBlock3D",),
    num_attention_heads=(2,),
    layers_per_block=1,
    cross_attention_dim=16,
    norm_num_groups=4,
    hfa_levels=(64,),
)
VAE = VAEConfig(block_out_channels=(8,), layers_per_block=1, norm_num_groups=4)
TEXT = ClipTextConfig(vocab_size=700, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2)
VISION = VisionConfig(image_size=28, patch_size=14, width=24, layers=1, heads=2, output_dim=8)
RESAMPLER = ResamplerConfig(dim=16, depth=1, dim_head=8, heads=3, num_queries=2, embedding_dim=24, output_dim=16)


@functools.cache
def network(name: str, config: Config) -> Network:
    return build(name, config)


def tensors(name: str, config: Config, dtype: Any = np.float32, prefix: str = "", without: str = r"(?!)") -> Arrays:
    """Random tensors by PyTorch's names; every call gives the same."""
    rng = np.random.default_rng(len(name))
    return {
        prefix + entry.name: rng.standard_normal(entry.shape, np.float32).astype(dtype)
        for entry in table(network(name, config))
        if not re.search(without, entry.name)
    }


def renamed(arrays: Arrays) -> Arrays:
    """By the other names in use for a VAE or a text encoder."""
    return {other_name(name): array for name, array in arrays.items()}


def write(path: Path, arrays: Arrays) -> Path:
    """A `.safetensors` file or a pickle, by the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        write_safetensors(path, arrays)
    else:
        write_pickle(path, arrays, lightning=path.suffix in (".pth", ".ckpt"))
    return path


def write_base(
    folder: Path,
    *,
    unet: UNetConfig = UNET,
    vae: VAEConfig = VAE,
    text: ClipTextConfig = TEXT,
    dtype: Any = np.float32,
    suffix: str = ".safetensors",
    other_names: bool = False,
) -> Path:
    """A Stable Diffusion folder; its U-Net has no temporal layers, no APA and no HFA."""
    rename = renamed if other_names else dict
    stable = UNetConfig.from_dict({**unet.to_dict(), "apa": False, "hfa_levels": []})
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    parts = {
        "unet": (
            torch_configs.unet_values(stable),
            tensors("unet", stable, dtype, without=NOT_STABLE_DIFFUSION),
            f"diffusion_pytorch_model{suffix}",
        ),
        "vae": (torch_configs.vae_values(vae), rename(tensors("vae", vae, dtype)), f"diffusion_pytorch_model{suffix}"),
        "text_encoder": (torch_configs.text_values(text), rename(tensors("text_encoder", text, dtype)), stem + suffix),
    }
    for name, (values, arrays, file) in parts.items():
        write(folder / name / file, arrays)
        write_json(folder / name / "config.json", values)
    (folder / "scheduler").mkdir()
    write_json(folder / "scheduler" / "scheduler_config.json", torch_configs.schedule_values(ScheduleConfig()))
    learn_tokenizer([CAPTIONS], folder / "tokenizer")
    (folder / "resampler").mkdir()
    write_json(folder / "resampler" / "config.json", RESAMPLER.to_dict())
    return folder


def write_magdiff(
    path: Path, unet: UNetConfig = UNET, dtype: Any = np.float32, prefixes: str = "unet resampler"
) -> Path:
    """A checkpoint as the released code's training writes it."""
    arrays: Arrays = {}
    if "unet" in prefixes:
        arrays |= tensors("unet", unet, dtype, prefix="unet.")
    if "resampler" in prefixes and unet.apa:
        arrays |= tensors("resampler", RESAMPLER, dtype, prefix="enclip_projector.")
    return write(path, arrays)


def write_vision(path: Path, dtype: Any = np.float32) -> Path:
    """OpenCLIP's file, with the text tower's leftovers that are not read."""
    leftovers = {"logit_scale": np.zeros((1,), dtype), "token_embedding.weight": np.zeros((3, 2), dtype)}
    write(path, tensors("vision", VISION, dtype, prefix="visual.") | leftovers)
    write_json(path.with_name("open_clip_config.json"), torch_configs.vision_values(VISION))
    return path


def stored(path: Path) -> Arrays:
    """A file's tensors, read by the library that owns the format."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    import torch

    state = torch.load(path, weights_only=True)
    return {
        name: tensor.view(torch.int16).numpy().view(BFLOAT16) if tensor.dtype == torch.bfloat16 else tensor.numpy()
        for name, tensor in state.get("state_dict", state).items()
    }


def change_json(path: Path, **values: object) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | values)


def assert_same(actual: Arrays, expected: Arrays) -> None:
    """The same names with the same types, shapes and bits."""
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype, name
        assert actual[name].shape == array.shape, name
        assert actual[name].tobytes() == array.tobytes(), name
