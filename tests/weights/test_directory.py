"""The model's folder: self-contained, and refused by name where it is damaged."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from magdiff_jax.errors import UserError
from magdiff_jax.models import COMPONENTS, build
from magdiff_jax.replacing import check_replaceable, replacing
from magdiff_jax.sharding.mesh import MeshConfig, make_mesh
from magdiff_jax.weights import directory
from magdiff_jax.weights.export import MARK, to_torch
from magdiff_jax.weights.sources import Sources
from tests.weights.checkpoints import BFLOAT16, RESAMPLER, UNET, change_json

NAMES = ("unet", "vae", "text_encoder", "resampler")


@pytest.mark.quick
def test_the_folder_is_self_contained(model: Path, sources: Sources) -> None:
    assert {path.name for path in model.iterdir()} == {*NAMES, "tokenizer", "model.json"}
    for name in NAMES:
        assert (model / name / "config.json").is_file()
        assert (model / name / "params").is_dir()
        assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=model / name).returncode == 0
    description = directory.read_description(model)
    assert description.networks["unet"] == UNET
    assert description.networks["resampler"] == RESAMPLER
    assert description.model.resolution == 64
    files = [*sources.checkpoints, *sources.base.rglob("*.safetensors")]
    sums = {hashlib.sha256(f.read_bytes()).hexdigest(): f"{f.parent.name}/{f.name}" for f in files}
    sources_of = dict(description.model.sources)
    assert sums.items() <= sources_of.items()
    others = {"scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt", "unet/config.json"}
    assert others <= set(sources_of.values())
    for path in model.rglob("*"):
        assert not path.is_symlink()
        if path.is_file():
            assert str(sources.base).encode() not in path.read_bytes()


def test_fingerprint_sees_paths_types_shapes_and_values() -> None:
    params = {"a": {0: np.arange(4, dtype=np.float32)}, "b": np.zeros((2, 3), BFLOAT16)}
    turned = {"b": params["b"], "a": params["a"]}
    assert directory.fingerprint(params) == directory.fingerprint(turned)
    others = [
        {"a": {0: np.arange(4, dtype=np.float32)}, "c": params["b"]},
        {"a": {0: np.arange(4, dtype=np.int32)}, "b": params["b"]},
        {"a": {0: np.arange(4, dtype=np.float32).reshape(2, 2)}, "b": params["b"]},
        {"a": {0: np.array([0, 1, 2, np.nextafter(np.float32(3), np.float32(4))])}, "b": params["b"]},
    ]
    assert len({directory.fingerprint(tree) for tree in [params, *others]}) == 5


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_component_comes_back_bit_by_bit(tmp_path: Path, dtype: str) -> None:
    network = build("resampler", RESAMPLER)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(dtype), network.shapes)
    expected = directory.write_component(tmp_path, "resampler", RESAMPLER, params)
    read = directory.read_component(tmp_path, "resampler", network.shapes, expected)
    assert expected == directory.fingerprint(read) == directory.fingerprint(params)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(read))


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xA5 for byte in data[middle : middle + 64])
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "overwritten": lambda params: overwrite(largest(params)),
    "truncated": lambda params: largest(params).write_bytes(largest(params).read_bytes()[:-100]),
    "emptied": lambda params: largest(params).write_bytes(b""),
    "file-missing": lambda params: largest(params).unlink(),
    "metadata-missing": lambda params: (params / "_METADATA").unlink(),
    "metadata-garbage": lambda params: (params / "_METADATA").write_text("{"),
    "folder-missing": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_parameters_are_refused_by_name(model: Path, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    shutil.copytree(model / "resampler", tmp_path / "model" / "resampler")
    params = tmp_path / "model" / "resampler" / "params"
    expected = directory.read_description(model).fingerprints["resampler"]
    shapes = build("resampler", RESAMPLER).shapes
    damage(params)
    with pytest.raises(UserError, match=f"^{params.parent}: damaged or missing: params/.*; convert or copy") as caught:
        directory.read_component(tmp_path / "model", "resampler", shapes, expected)
    assert "\n" not in str(caught.value)


def test_parameters_without_checksums_are_refused(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model / "resampler", tmp_path / "resampler", ignore=shutil.ignore_patterns("SHA256SUMS"))
    with pytest.raises(UserError, match="SHA256SUMS: no such file; convert or copy the model again"):
        directory.read_component(tmp_path, "resampler", build("resampler", RESAMPLER).shapes, "0" * 64)


def _rewrite_sums(component: Path, change: Callable[[list[str]], list[str]]) -> None:
    sums = component / "SHA256SUMS"
    sums.write_text("".join(change(sums.read_text().splitlines(keepends=True))))


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "sums-emptied": (lambda folder: _rewrite_sums(folder, lambda lines: []), r"params/.*, … \(\d+ in all\)"),
    "sums-lack-a-line": (lambda folder: _rewrite_sums(folder, lambda lines: lines[1:]), "params/"),
    "file-among-parameters": (lambda folder: (folder / "params/d/0123").write_bytes(b"x"), "params/d/0123"),
    "file-beside": (lambda folder: (folder / "model.safetensors").touch(), "model.safetensors"),
    "link-beside": (lambda folder: (folder / "params2").symlink_to("nowhere"), "params2"),
    "folder-beside": (lambda folder: shutil.copytree(folder / "params", folder / "params.old"), "params.old/.*"),
}


@pytest.mark.parametrize("on_a_mesh", [False, True], ids=["one-device", "mesh"])
@pytest.mark.parametrize(("change", "names"), STRANGE.values(), ids=STRANGE)
def test_files_without_a_checksum_are_refused(
    model: Path, tmp_path: Path, change: Callable[[Path], object], names: str, on_a_mesh: bool
) -> None:
    component = tmp_path / "resampler"
    shutil.copytree(model / "resampler", component)
    shapes = build("resampler", RESAMPLER).shapes
    everywhere = NamedSharding(make_mesh(MeshConfig(), jax.devices()), PartitionSpec())
    targets = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), shapes)

    def read() -> object:
        if on_a_mesh:
            return directory.read_sharded(tmp_path, "resampler", targets)
        expected = directory.read_description(model).fingerprints["resampler"]
        return directory.read_component(tmp_path, "resampler", shapes, expected)

    assert len(jax.tree.leaves(read())) == len(jax.tree.leaves(shapes))
    change(component)
    with pytest.raises(
        UserError, match=f"^{component}: SHA256SUMS does not list {names}.*; delete what is not"
    ) as caught:
        read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["MagDiff.safetensors", "pytorch_model.bin", "last.ckpt", "vision"])
def test_weights_beside_those_of_the_model_are_refused(model: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("params"))
    (folder / "README.md").write_text("a card")
    directory.read_description(folder)
    (folder / name).touch() if "." in name else (folder / name).mkdir()
    with pytest.raises(
        UserError, match=f"^{folder}: model.json does not list {name}; move what is not of the model away"
    ):
        directory.read_description(folder)


def test_parameters_of_another_model_are_refused(model: Path) -> None:
    with pytest.raises(UserError, match="its values are not those that were written"):
        directory.read_component(model, "resampler", build("resampler", RESAMPLER).shapes, "0" * 64)


@pytest.mark.parametrize(
    ("file", "values", "complaint"),
    [
        ("model.json", {"format": 2}, "not of the format"),
        ("model.json", {"fingerprints": {}}, "lists the components"),
        ("model.json", {"fingerprints": ["unet", "vae", "text_encoder"]}, "lacks fingerprints or schedule"),
        ("model.json", {"schedule": None}, "lacks fingerprints or schedule"),
        ("model.json", {"frames": 0}, "frames = 0"),
        ("model.json", {"colour": 1}, "unknown keys"),
        ("unet/config.json", {"layers_per_block": "many"}, "layers_per_block"),
        ("unet/config.json", {"depth": 3}, "unknown keys"),
        ("model.json", {"schedule": {"beta_schedule": "x"}}, "beta_schedule"),
    ],
)
def test_a_spoiled_description_is_refused(
    model: Path, tmp_path: Path, file: str, values: dict[str, object], complaint: str
) -> None:
    shutil.copytree(model, tmp_path / "model", ignore=shutil.ignore_patterns("params"))
    change_json(tmp_path / "model" / file, **values)
    with pytest.raises(UserError, match=f"(?s){tmp_path / 'model' / file}: .*{complaint}"):
        directory.read_description(tmp_path / "model")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no MagDiff model"):
        directory.read_description(tmp_path)


def test_replacing_leaves_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for text in ("first", "second"):
        with replacing(target) as new:
            new.mkdir()
            (new / "file").write_text(text)
        assert (target / "file").read_text() == text
    with pytest.raises(KeyboardInterrupt), replacing(target) as new:  # noqa: PT012
        new.mkdir()
        (new / "half").touch()
        raise KeyboardInterrupt
    # Nothing was written: the older folder stays.
    with pytest.raises(UserError, match="could not be written"), replacing(target):
        pass
    assert (target / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(UserError, match="could not be written: No such file"), replacing(tmp_path / "no/such"):
        pass


def test_only_our_own_folders_are_replaced(model: Path, tmp_path: Path) -> None:
    check_replaceable(tmp_path / "absent", "model.json")
    check_replaceable(tmp_path, "model.json")
    check_replaceable(model, "model.json")
    (tmp_path / "file").touch()
    tfjs = tmp_path / "tfjs"
    tfjs.mkdir()
    (tfjs / "model.json").write_text(json.dumps({"format": "graph-model"}))
    for folder in (tmp_path, tmp_path / "file", tfjs):
        with pytest.raises(UserError, match=r"holds something else \(no model.json of magdiff_jax\)"):
            check_replaceable(folder, "model.json")


def test_an_export_replaces_an_export_only(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        to_torch(model, out, "safetensors")
    assert (out / MARK).read_bytes() == (model / "model.json").read_bytes()
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "MagDiff.safetensors").touch()
    with pytest.raises(UserError, match="holds something else"):
        to_torch(model, downloads, "safetensors")
    assert set(COMPONENTS) - {"vision"} == set(NAMES)
