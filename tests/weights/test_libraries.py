"""Folders written by diffusers and transformers: read by us, the networks compute what PyTorch's do."""

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.models import ClipTextConfig, Component, UNetConfig, VAEConfig, build
from magdiff_jax.weights import torch_configs
from magdiff_jax.weights.convert import to_params
from magdiff_jax.weights.sources import FRESH_GROUPS, Part, Reader, Sources
from magdiff_jax.weights.table import match, table, table_name
from tests.parity.recordings import assert_close
from tests.weights.checkpoints import network

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-5
UNET = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": (2, 4),
    "layers_per_block": 1,
    "cross_attention_dim": 16,
    "norm_num_groups": 4,
}
VAE = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
}
TEXT = {
    "vocab_size": 700,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
# Settings that change no result here: sizes told by others, precision, and what only other layers have.
HARMLESS = {
    *(
        "sample_size",
        "dropout",
        "upcast_attention",
        "in_channels",
        "out_channels",
        "projection_class_embeddings_input_dim",
    ),
    *("addition_time_embed_dim", "addition_embed_type_num_heads", "class_embeddings_concat", "time_embedding_dim"),
    *("reverse_transformer_layers_per_block", "num_attention_heads", "attention_head_dim", "force_upcast"),
}


def build_torch(name: str) -> Any:
    if name == "unet":
        return diffusers.UNet2DConditionModel(**UNET)
    if name == "vae":
        return diffusers.AutoencoderKL(**VAE)
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT))


@pytest.fixture(scope="module")
def modules() -> dict[str, Any]:
    """PyTorch's networks, with random values also where they start at zero or one."""
    torch.manual_seed(0)
    built = {name: build_torch(name).eval() for name in ("unet", "vae", "text_encoder")}
    with torch.no_grad():
        for module in built.values():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return built


@pytest.fixture(scope="module", params=["safetensors", "shards", "bin", "checkpoint"])
def parts(
    request: pytest.FixtureRequest, modules: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Part]:
    """What our reader finds in the folder that they are saved to."""
    folder, checkpoint = tmp_path_factory.mktemp(request.param), {}
    for name, module in modules.items():
        match request.param:
            case "shards":
                module.save_pretrained(folder / name, max_shard_size="20KB")
                assert len(list((folder / name).glob("*-of-*.safetensors"))) > 1
            case "bin" if name == "text_encoder":
                # transformers has given up writing pickles; this is what it wrote.
                module.config.save_pretrained(folder / name)
                state = {f"text_model.{key}": value for key, value in module.state_dict().items()}
                state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
                torch.save(state, folder / name / "pytorch_model.bin")
            case "bin":
                module.save_pretrained(folder / name, safe_serialization=False)
            case "checkpoint":
                module.config.save_pretrained(folder / name) if name == "text_encoder" else module.save_config(
                    folder / name
                )
                checkpoint |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
            case _:
                module.save_pretrained(folder / name)
    torch.save({"state_dict": checkpoint, "epoch": 3}, folder / "last.ckpt")
    checkpoints = [folder / "last.ckpt"] if checkpoint else []
    return Reader(Sources(folder, checkpoints)).parts(apa=True, hfa_levels=(64,))


def filled(name: str, part: Part) -> Component:
    built = build(name, part.config)
    return Component(built, to_params(built, part.tensors, name))


def values(component: Component) -> dict[str, np.ndarray]:
    from magdiff_jax.models.network import flatten

    leaves = dict(flatten(component.params))
    return {entry.name: entry.layout.to_torch(leaves[entry.path]) for entry in table(component.network)}


@pytest.mark.quick
def test_every_tensor_has_its_place(parts: dict[str, Part], modules: dict[str, Any]) -> None:
    for name in ("vae", "text_encoder"):
        ours = values(filled(name, parts[name]))
        theirs = {table_name(key): value.numpy() for key, value in modules[name].state_dict().items()}
        assert set(ours) == set(theirs)
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    entries = table(network("unet", parts["unet"].config))
    found = match(entries, parts["unet"].tensors, what="unet", may_lack=parts["unet"].may_lack)
    state = modules["unet"].state_dict()
    assert set(found) == set(state)
    assert all(re.search("|".join(FRESH_GROUPS), e.name) for e in entries if e.name not in found)
    np.testing.assert_array_equal(found["conv_in.weight"].load()[:, :4], state["conv_in.weight"].numpy())
    assert not found["conv_in.weight"].load()[:, 4:].any()


@pytest.mark.parametrize("parts", ["safetensors"], indirect=True)
def test_networks_compute_the_same(parts: dict[str, Part], modules: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 8, 12, 3), np.float32)
    latents = rng.standard_normal((1, 2, 4, 3, 4), np.float32)
    ids = rng.integers(0, 700, (2, 77)).astype(np.int32)
    vae, text = filled("vae", parts["vae"]), filled("text_encoder", parts["text_encoder"])
    with torch.no_grad():
        theirs = modules["vae"].encode(torch.from_numpy(np.moveaxis(image, -1, 1).copy())).latent_dist
        decoded = modules["vae"].decode(torch.from_numpy(np.moveaxis(latents[0], -1, 1).copy())).sample
        tokens = modules["text_encoder"](torch.from_numpy(ids).long()).last_hidden_state
    mean, log_variance = vae(jnp.asarray(image), method="encode")
    assert_close(np.moveaxis(mean, -1, 1), theirs.mean.numpy(), TOLERANCE)
    assert_close(np.moveaxis(log_variance, -1, 1), theirs.logvar.numpy(), TOLERANCE)
    assert_close(np.moveaxis(vae(jnp.asarray(latents), method="decode")[0], -1, 1), decoded.numpy(), TOLERANCE)
    assert_close(text(ids), tokens.numpy(), TOLERANCE)


STABLE_DIFFUSION_2 = UNetConfig(apa=False, hfa_levels=())
FULL_VAE = {**VAE, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32}


def test_full_size_names_and_shapes() -> None:
    """Stable Diffusion 2.1's networks, as shapes only."""
    levels = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    settings = torch_configs.unet_values(STABLE_DIFFUSION_2)
    heads = {"attention_head_dim": (5, 10, 20, 20), "cross_attention_dim": 1024, "use_linear_projection": True}
    assert settings["attention_head_dim"] == [5, 10, 20, 20]
    text = ClipTextConfig()
    with torch.device("meta"):
        theirs = {
            "unet": diffusers.UNet2DConditionModel(**heads),
            "vae": diffusers.AutoencoderKL(**FULL_VAE | levels),
            "text_encoder": transformers.CLIPTextModel(transformers.CLIPTextConfig(**text.to_dict())),
        }
    for name, config in (("unet", STABLE_DIFFUSION_2), ("vae", VAEConfig()), ("text_encoder", text)):
        ours = {e.name: e.shape for e in table(network(name, config)) if not re.search("|".join(FRESH_GROUPS), e.name)}
        assert ours == {table_name(key): tuple(value.shape) for key, value in theirs[name].state_dict().items()}


@pytest.mark.parametrize(
    ("module", "fixed", "config"),
    [
        (lambda: diffusers.UNet2DConditionModel, torch_configs.UNET_FIXED, UNetConfig),
        (lambda: diffusers.AutoencoderKL, torch_configs.VAE_FIXED, VAEConfig),
    ],
)
def test_every_setting_of_diffusers_is_known(module: Any, fixed: dict[str, Any], config: type) -> None:
    """Read, refused where it means something else, or harmless."""
    settings = set(module()._get_init_keys(module())) - {"self"}
    assert settings - set(fixed) - set(config.__dataclass_fields__) - HARMLESS == {
        "down_block_types",
        "up_block_types",
    } - set(config.__dataclass_fields__)
