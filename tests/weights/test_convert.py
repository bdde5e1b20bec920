"""Whole conversions: round trips, the starting point for training, and what is refused."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.models import ResamplerConfig, UNetConfig, build
from magdiff_jax.models.network import flatten
from magdiff_jax.weights import directory
from magdiff_jax.weights.convert import from_torch, to_params
from magdiff_jax.weights.export import FORMATS, to_torch
from magdiff_jax.weights.files import Tensor, write_safetensors
from magdiff_jax.weights.sources import Sources
from magdiff_jax.weights.table import table
from tests.weights.checkpoints import (
    BFLOAT16,
    RESAMPLER,
    TEXT,
    UNET,
    VAE,
    VISION,
    Arrays,
    assert_same,
    change_json,
    network,
    renamed,
    stored,
    tensors,
    write,
    write_base,
    write_magdiff,
    write_vision,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One way that models and files come."""

    dtype: np.dtype = dataclasses.field(default_factory=lambda: np.dtype(np.float32))
    form: str = "safetensors"
    unet: UNetConfig = UNET
    temporal_vae: bool = False
    other_names: bool = False
    sda: bool = True


CASES = {
    "float32-pickle-old-names": Case(form="pickle", other_names=True),
    "float16-pickle-pyramid-sd1": Case(
        np.dtype(np.float16),
        "pickle",
        dataclasses.replace(UNET, hfa_levels=(96, 80, 64), use_linear_projection=False),
        sda=False,
    ),
    "bfloat16-pickle-without-hfa": Case(BFLOAT16, "pickle", dataclasses.replace(UNET, hfa_levels=())),
    "float16-temporal-vae-old-names": Case(np.dtype(np.float16), temporal_vae=True, other_names=True),
    "bfloat16-without-apa": Case(BFLOAT16, unet=dataclasses.replace(UNET, apa=False)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_round_trip(tmp_path: Path, case: Case) -> None:
    """Files → folder → the same files → the same folder."""
    if case.form == "pickle":
        pytest.importorskip("torch")
    checkpoint_suffix, suffix = FORMATS[case.form]
    vae = dataclasses.replace(VAE, add_temp_conv=case.temporal_vae)
    base = write_base(
        tmp_path / "sd", unet=case.unet, vae=vae, dtype=case.dtype, suffix=suffix, other_names=case.other_names
    )
    magdiff = write_magdiff(tmp_path / f"sd/MagDiff{checkpoint_suffix}", case.unet, case.dtype)
    vision = write_vision(tmp_path / f"sd/open_clip_pytorch_model{suffix}", case.dtype) if case.unet.apa else None
    options = {"hfa_levels": case.unet.hfa_levels, "apa": case.unet.apa, "sda": case.sda}

    from_torch(Sources(base, [magdiff], vision=vision), tmp_path / "model", **options)
    to_torch(tmp_path / "model", tmp_path / "back", case.form)
    for path in (p for p in base.rglob("*") if p.suffix == suffix and p.parent.name != "unet"):
        expected = {
            key: array for key, array in stored(path).items() if key not in ("logit_scale", "token_embedding.weight")
        }
        assert_same(stored(tmp_path / "back" / path.relative_to(base)), expected)
    assert_same(stored(tmp_path / "back" / magdiff.name), stored(magdiff))
    for config in base.rglob("*config.json"):
        if case.unet.apa or config.parent.name != "resampler":
            copied, original = (
                json.loads(path.read_text()) for path in (tmp_path / "back" / config.relative_to(base), config)
            )
            assert {
                key: copied[key] for key in original if key in copied and key not in ("in_channels", "add_temp_conv")
            } == {
                key: value
                for key, value in original.items()
                if key in copied and key not in ("in_channels", "add_temp_conv")
            }

    again = Sources(
        tmp_path / "back", [tmp_path / "back" / magdiff.name], vision=vision and tmp_path / "back" / vision.name
    )
    from_torch(again, tmp_path / "again", **options)
    first, second = (json.loads((tmp_path / name / directory.MARK).read_text()) for name in ("model", "again"))
    assert list(first.pop("sources").values()) != []
    second.pop("sources")
    assert first == second
    assert set(first["other_names"]) == ({"vae", "text_encoder"} if case.other_names else set())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that a conversion can take, not to be changed."""
    folder = tmp_path_factory.mktemp("files")
    write_base(folder / "sd")
    write_magdiff(folder / "MagDiff.safetensors")
    vidrd = dataclasses.replace(UNET, apa=False, hfa_levels=())
    write(folder / "ModelT2V.safetensors", tensors("unet", vidrd, prefix="unet."))
    write_vision(folder / "vision.safetensors")
    return folder


@pytest.fixture(scope="module")
def start(files: Path) -> Path:
    """A model from Stable Diffusion alone."""
    sources = Sources(files / "sd", vision=files / "vision.safetensors")
    from_torch(sources, files / "start", hfa_levels=(96, 80, 64))
    return files / "start"


def leaves_of(model: Path, name: str) -> Arrays:
    """A component's parameters by PyTorch's names, in our layouts."""
    description = directory.read_description(model)
    built = build(name, description.networks[name])
    leaves = dict(flatten(directory.read_component(model, name, built.shapes, description.fingerprints[name])))
    return {entry.name: leaves[entry.path] for entry in table(built)}


def test_the_starting_point_changes_nothing(start: Path, files: Path) -> None:
    leaves = leaves_of(start, "unet")
    stable = stored(files / "sd/unet/diffusion_pytorch_model.safetensors")
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves.values())

    # Temporal layers end in zeros, and their norms in ones.
    ends = [n for n in leaves if re.search(r"temp_convs\.\d+\.convs\.15\.|temp_attn\.to_out\.0\.", n)]
    assert len(ends) == 2 * (5 + 4)
    assert not any(leaves[name].any() for name in ends)
    fresh = [n for n in leaves if re.search(r"temp_convs\.\d+\.convs\.3\.weight|temp_attn\.to_[qkv]\.|to_[kv]_ip", n)]
    assert all(leaves[name].std() > 0.01 for name in fresh)
    assert len({leaves[name].tobytes() for name in fresh}) == len(fresh)
    assert (leaves["mid_block.attentions.0.transformer_blocks.0.temp_norm.weight"] == 1).all()

    # conv_in: the noise's half as it was, the subject's half zero.
    np.testing.assert_array_equal(leaves["conv_in.weight"][:, :, :4], stable["conv_in.weight"].transpose(2, 3, 1, 0))
    assert not leaves["conv_in.weight"][:, :, 4:].any()

    # HFA's further levels add nothing; APA's weights are the released code's.
    assert not any(leaf.any() for name, leaf in leaves.items() if name.startswith("hfa_projections."))
    assert sum(name.startswith("hfa_projections.") for name in leaves) == 4
    for name, leaf in leaves.items():
        if name.endswith("_cross_attention_scale"):
            assert leaf.tolist() == [1.5 if "image" in name else 1.0]

    # All else is Stable Diffusion's.
    kept = [name for name in stable if name != "conv_in.weight"]
    assert all(sorted(leaves[name].ravel()) == sorted(stable[name].ravel()) for name in kept if stable[name].size < 100)


def test_vidrd_keeps_its_temporal_layers(files: Path) -> None:
    """SD + VidRD: only what is MagDiff's own starts fresh; `unet.` alone is enough."""
    sources = Sources(files / "sd", [files / "ModelT2V.safetensors"])
    from_torch(sources, files / "vidrd", hfa_levels=(64,), apa=False)
    leaves, vidrd = leaves_of(files / "vidrd", "unet"), stored(files / "ModelT2V.safetensors")
    for name, leaf in leaves.items():
        if "temp_" in name:
            assert sorted(leaf.ravel()) == sorted(vidrd[f"unet.{name}"].ravel())


def test_a_text_to_video_model_and_what_it_leaves_out(files: Path, tmp_path: Path) -> None:
    """From VidRD's files nothing is left out, from MagDiff's all that carries a subject, which is told."""
    from_torch(Sources(files / "sd", [files / "ModelT2V.safetensors"]), tmp_path / "vidrd", hfa_levels=(), apa=False)
    assert set(directory.read_description(tmp_path / "vidrd").networks) == {"unet", "vae", "text_encoder"}
    to_torch(tmp_path / "vidrd", tmp_path / "back", "safetensors")
    assert_same(stored(tmp_path / "back/MagDiff.safetensors"), stored(files / "ModelT2V.safetensors"))

    tower = tensors("vision", VISION, prefix="entity_clip_model.model.visual.")
    pyramid = tensors("unet", dataclasses.replace(UNET, hfa_levels=(96, 64)), prefix="unet.")
    write(tmp_path / "more.safetensors", pyramid | tower)
    checkpoints = [tmp_path / "more.safetensors", files / "MagDiff.safetensors"]
    with pytest.warns(UserWarning, match="left out") as caught:
        from_torch(Sources(files / "sd", checkpoints), tmp_path / "stripped", hfa_levels=(), apa=False)
    told = "\n".join(str(warning.message) for warning in caught)
    for part in (
        r"no APA: \S+attn2\.\S+, … \(16 in all\)",
        r"no APA: entity_clip_model\.model\.visual\.\S+, …",
        r"no APA: enclip_projector\.\S+, …",
        r"no HFA: hfa_projections\.0\.\S+, … \(2 in all\)",
        r"no HFA: conv_in\.weight's inputs 4 to 7$",
    ):
        assert re.search(part, told, re.MULTILINE), told
    stripped, both = leaves_of(tmp_path / "stripped", "unet"), stored(files / "MagDiff.safetensors")
    assert set(stripped) == set(leaves_of(tmp_path / "vidrd", "unet"))
    np.testing.assert_array_equal(stripped["conv_in.weight"], both["unet.conv_in.weight"][:, :4].transpose(2, 3, 1, 0))


def test_the_resampler_is_as_wide_as_the_vision_tower(start: Path) -> None:
    networks = directory.read_description(start).networks
    assert networks["resampler"].embedding_dim == networks["vision"].width == 24
    assert networks["resampler"].output_dim == networks["unet"].cross_attention_dim == 16


def test_fresh_parameters_follow_from_the_seed() -> None:
    built = build("resampler", ResamplerConfig(dim=4, depth=1, dim_head=2, heads=1, embedding_dim=4, output_dim=4))
    first, same, other = (
        directory.fingerprint(to_params(built, [], "resampler", may_lack="", seed=seed)) for seed in (0, 0, 1)
    )
    assert first == same != other
    whole = to_params(built, [], "resampler", may_lack="", dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(whole)} == {BFLOAT16}


def in_memory(arrays: Arrays) -> dict[str, Tensor]:
    return {name: Tensor(array.shape, array.dtype, lambda array=array: array) for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", ["source", "float32", "float16", "bfloat16"])
def test_dtype(dtype: str) -> None:
    arrays = tensors("resampler", RESAMPLER, np.float16)
    arrays["latents"] = arrays["latents"].astype(BFLOAT16)
    params = to_params(network("resampler", RESAMPLER), [in_memory(arrays)], "resampler", dtype=dtype)
    expected = dict.fromkeys(arrays, dtype) if dtype != "source" else {n: str(a.dtype) for n, a in arrays.items()}
    leaves = dict(flatten(params))
    assert {e.name: str(leaves[e.path].dtype) for e in table(network("resampler", RESAMPLER))} == expected


def test_fresh_parameters_beside_two_types_are_float32() -> None:
    arrays = tensors("resampler", RESAMPLER, np.float16, without="latents")
    arrays["proj_in.bias"] = arrays["proj_in.bias"].astype(BFLOAT16)
    params = to_params(network("resampler", RESAMPLER), [in_memory(arrays)], "resampler", may_lack="latents")
    assert params["latents"].dtype == np.float32


def without(path: Path, *names: str) -> None:
    write_safetensors(path, {name: array for name, array in stored(path).items() if name not in names})


Spoil = Callable[[Path], None]
UNET_FILE, VAE_FILE = (f"sd/{name}/diffusion_pytorch_model.safetensors" for name in ("unet", "vae"))
SPOILED: dict[str, tuple[Spoil, str]] = {
    "unet-lacks": (lambda f: without(f / UNET_FILE, "conv_out.bias"), r"1 missing: conv_out\.bias"),
    "vae-lacks": (
        lambda f: without(f / VAE_FILE, "quant_conv.bias", "decoder.conv_in.bias"),
        r"vae does not fit .* 2 missing: decoder\.conv_in\.bias, quant_conv\.bias",
    ),
    "temporal-layers-in-part": (
        lambda f: without(f / "ModelT2V.safetensors", "unet.mid_block.temp_convs.0.convs.0.weight"),
        r"1 missing: mid_block\.temp_convs\.0\.convs\.0\.weight",
    ),
    "wrong-widths": (
        lambda f: change_json(f / "sd/unet/config.json", cross_attention_dim=24),
        r"do not belong together: the text encoder's hidden_size is 16, the U-Net's cross_attention_dim 24",
    ),
    "wrong-text": (
        lambda f: change_json(f / "sd/text_encoder/config.json", intermediate_size=99),
        r"of another shape: text_model",
    ),
    "sdxl": (lambda f: change_json(f / "sd/unet/config.json", addition_embed_type="text_time"), "addition_embed_type"),
    "vae-channels": (
        lambda f: change_json(f / "sd/vae/config.json", latent_channels=16),
        "the VAE's latent_channels is 16",
    ),
    "strange-prefix": (
        lambda f: write(f / "ModelT2V.safetensors", {"ema.a": np.zeros(1), "b": np.zeros(1)}),
        r"holds tensors of no component \(unet\., vae\., .*\): (ema\.a, b|b, ema\.a)",
    ),
    "one-wrong-prefix": (
        lambda f: write(f / "ModelT2V.safetensors", {f"student.unet.{i}.a": np.zeros(1) for i in range(9)}),
        r"ModelT2V\.safetensors: all names begin with student\.unet\. and none with unet\., .*; save it with these$",
    ),
    "no-prefix": (
        lambda f: write(f / "ModelT2V.safetensors", {f"{i}.a": np.zeros(1) for i in range(9)}),
        r"holds tensors of no component \(unet.*\): 0\.a, 1\.a, 2\.a, … \(9 in all\)$",
    ),
    "no-tokenizer": (lambda f: shutil.rmtree(f / "sd/tokenizer"), "sd/tokenizer: holds no CLIP tokenizer"),
    "another-tokenizer": (
        lambda f: change_json(f / "sd/text_encoder/config.json", vocab_size=100),
        r"the tokenizer knows \d+ tokens, the text encoder 100",
    ),
    "no-scheduler": (lambda f: shutil.rmtree(f / "sd/scheduler"), "scheduler_config.json: no such file"),
    "no-config": (lambda f: (f / "sd/vae/config.json").unlink(), "sd/vae/config.json: no such file"),
    "no-text": (lambda f: (f / "sd/text_encoder/model.safetensors").unlink(), "sd/text_encoder: holds no weights"),
    "truncated": (lambda f: (f / VAE_FILE).write_bytes((f / VAE_FILE).read_bytes()[:-9]), "damaged or no safetensors"),
}


@pytest.mark.parametrize(("spoil", "complaint"), SPOILED.values(), ids=SPOILED)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    files: Path, tmp_path: Path, spoil: Spoil, complaint: str
) -> None:
    copy = tmp_path / "files"
    shutil.copytree(files, copy, ignore=shutil.ignore_patterns("start", "vidrd"))
    spoil(copy)
    checkpoints = [] if complaint.endswith(r"conv_out\.bias") else [copy / "ModelT2V.safetensors"]
    with pytest.raises(UserError, match=f"(?s){complaint}"):
        from_torch(Sources(copy / "sd", checkpoints), tmp_path / "model", hfa_levels=(64,), apa=False)
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def test_parts_of_another_width_are_refused(files: Path, tmp_path: Path) -> None:
    wide = dataclasses.replace(RESAMPLER, embedding_dim=32)
    write(tmp_path / "wide.safetensors", tensors("resampler", wide, prefix="enclip_projector."))
    sources = Sources(files / "sd", [tmp_path / "wide.safetensors"], vision=files / "vision.safetensors")
    with pytest.raises(UserError, match=r"the vision tower's width is 24, the resampler's input 32"):
        from_torch(sources, tmp_path / "model", hfa_levels=(64,))
    write(tmp_path / "more.safetensors", stored(files / "vision.safetensors") | {"extra.weight": np.zeros(1)})
    shutil.copy(files / "open_clip_config.json", tmp_path)
    with pytest.raises(UserError, match=r"holds tensors that OpenCLIP has not: extra\.weight"):
        from_torch(Sources(files / "sd", vision=tmp_path / "more.safetensors"), tmp_path / "model", hfa_levels=(64,))


def test_impossible_choices_are_refused(files: Path, tmp_path: Path) -> None:
    for other in ({"vision": files / "vision.safetensors"}, {"bgr": True}):
        with pytest.raises(UserError, match="--vision and --bgr are for APA: leave them out, or --without apa"):
            from_torch(Sources(files / "sd", **other), tmp_path / "model", apa=False)
    with pytest.raises(UserError, match="no such folder; --base"):
        from_torch(Sources(tmp_path / "absent"), tmp_path / "model")


def test_a_later_checkpoint_and_vae_replace_earlier_ones(files: Path, tmp_path: Path) -> None:
    """`--vae` beats all; the projector may come from a checkpoint of its own."""
    later = {f"text_encoder.{name}": array + 1 for name, array in tensors("text_encoder", TEXT).items()}
    later["text_encoder.text_model.embeddings.position_ids"] = np.arange(77)[None]
    later |= {f"vae.{name}": array + 2 for name, array in tensors("vae", VAE).items()}
    write(tmp_path / "later.safetensors", later)
    write_magdiff(tmp_path / "projector.safetensors", prefixes="resampler")
    temporal = dataclasses.replace(VAE, add_temp_conv=True)
    other_vae = tensors("vae", temporal)
    write(tmp_path / "vae/diffusion_pytorch_model.safetensors", renamed(other_vae))
    shutil.copy(files / "sd/vae/config.json", tmp_path / "vae")
    checkpoints = [files / "MagDiff.safetensors", tmp_path / "projector.safetensors", tmp_path / "later.safetensors"]
    from_torch(Sources(files / "sd", checkpoints, vae=tmp_path / "vae"), tmp_path / "model", hfa_levels=(64,))
    to_torch(tmp_path / "model", tmp_path / "back", "safetensors")
    text = stored(tmp_path / "back/text_encoder/model.safetensors")
    assert_same(
        {f"text_encoder.{name}": array for name, array in text.items()},
        {
            name: array
            for name, array in later.items()
            if name.startswith("text_encoder.") and "position_ids" not in name
        },
    )
    assert_same(stored(tmp_path / "back/vae/diffusion_pytorch_model.safetensors"), renamed(other_vae))
    description = directory.read_description(tmp_path / "model")
    assert "vision" not in description.networks
    assert description.networks["vae"].add_temp_conv
    weights = [name for name in description.model.sources.values() if name.endswith(".safetensors")]
    assert len(weights) == 6
    assert f"{tmp_path.name}/later.safetensors" in weights
