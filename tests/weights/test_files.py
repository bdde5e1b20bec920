"""Checkpoint files: what is read, and what is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.weights import files
from magdiff_jax.weights.files import has_weights, read_file, read_folder, read_json, write_pickle, write_safetensors
from tests.weights.checkpoints import BFLOAT16, Arrays, assert_same, write

ARRAYS: Arrays = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -2], np.float16),
    "brain": np.array([[3.0], [0.1]], BFLOAT16),
    "position_ids": np.arange(4, dtype=np.int64)[None],
}
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")


def loaded(path: Path) -> Arrays:
    return {name: tensor.load() for name, tensor in read_file(path).items()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_comes_back_bit_by_bit(tmp_path: Path, suffix: str) -> None:
    if suffix != ".safetensors":
        pytest.importorskip("torch")
    path = write(tmp_path / f"weights{suffix}", ARRAYS)
    assert_same(loaded(path), ARRAYS)
    for name, tensor in read_file(path).items():
        assert (tensor.shape, tensor.dtype) == (ARRAYS[name].shape, ARRAYS[name].dtype)


def test_views_and_parameters_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    whole = torch.arange(12.0).reshape(3, 4)
    state = {"turned": whole.T, "part": whole[1:, 1:], "parameter": torch.nn.Parameter(whole.clone()), "step": 3}
    torch.save({"state_dict": state, "epoch": 7}, tmp_path / "weights.ckpt")
    arrays = whole.numpy()
    expected = {"turned": arrays.T, "part": arrays[1:, 1:], "parameter": arrays}
    assert_same(loaded(tmp_path / "weights.ckpt"), expected)


def test_a_pickle_of_torch_before_1_6(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {"a": torch.arange(5.0)}
    torch.save(state, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert_same(loaded(tmp_path / "old.bin"), {"a": np.arange(5, dtype=np.float32)})


def test_a_large_pickle_is_mapped_anew_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(files, "REMAP_BYTES", 10)
    arrays = {str(index): np.full(4, index, np.float32) for index in range(5)}
    assert_same(loaded(write(tmp_path / "weights.pth", arrays)), arrays)


def write_shards(folder: Path, suffix: str) -> Path:
    names = [f"model-{index}{suffix}" for index in range(2)]
    halves = [dict(list(ARRAYS.items())[:2]), dict(list(ARRAYS.items())[2:])]
    for name, half in zip(names, halves, strict=True):
        write(folder / name, half)
    weight_map = {key: name for name, half in zip(names, halves, strict=True) for key in half}
    index = folder / f"{'model' if suffix == '.safetensors' else 'pytorch_model'}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards(tmp_path: Path, suffix: str) -> None:
    if suffix == ".bin":
        pytest.importorskip("torch")
    write_shards(tmp_path, suffix)
    tensors, paths = read_folder(tmp_path)
    assert_same({name: tensor.load() for name, tensor in tensors.items()}, ARRAYS)
    assert [path.name for path in paths] == [f"model-0{suffix}", f"model-1{suffix}"]


@pytest.mark.parametrize(
    ("weight_map", "complaint"),
    [
        ({"a": "../../x.safetensors"}, "names the shard '../../x.safetensors', which is not in its folder"),
        ({"a": "/etc/passwd"}, "names the shard '/etc/passwd', which is not in its folder"),
        ({"a": ".."}, "no such file"),
        ({"a": "lost.safetensors"}, "lost.safetensors: no such file"),
        ({"a": 3}, "3: no such file"),
        ({}, "names no shards"),
        ("garbage", "names no shards"),
    ],
)
def test_a_bad_index_is_refused(tmp_path: Path, weight_map: object, complaint: str) -> None:
    write_safetensors(tmp_path.parent / "x.safetensors", ARRAYS)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(UserError, match=complaint):
        read_folder(tmp_path)


def test_shards_that_repeat_a_tensor_are_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, ".safetensors")
    write(tmp_path / "model-1.safetensors", ARRAYS)
    with pytest.raises(UserError, match=r"repeats the tensor a\.weight"):
        read_folder(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no weights; looked for diffusion_pytorch_model\.safetensors"):
        read_folder(tmp_path)
    write(tmp_path / "model.non_ema.safetensors", ARRAYS)
    with pytest.raises(UserError, match=r"; rename what is meant of model\.non_ema\.safetensors$"):
        read_folder(tmp_path)


def test_weights_in_half_precision_are_read_where_there_are_no_others(tmp_path: Path) -> None:
    half = write(tmp_path / "diffusion_pytorch_model.fp16.safetensors", ARRAYS)
    assert read_folder(tmp_path)[1] == [half]
    full = write(tmp_path / "diffusion_pytorch_model.safetensors", ARRAYS)
    assert read_folder(tmp_path)[1] == [full]


@pytest.mark.parametrize("name", ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"])
def test_shards_in_half_precision(tmp_path: Path, name: str) -> None:
    write_shards(tmp_path, ".safetensors").rename(tmp_path / name)
    assert has_weights(tmp_path)
    assert set(read_folder(tmp_path)[0]) == set(ARRAYS)


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (["module.model.unet.a", "module.model.unet.b"], ["unet.a", "unet.b"]),
        (["unet._orig_mod.a", "unet.b._fsdp_wrapped_module.c", "model.d"], ["unet.a", "unet.b.c", "model.d"]),
    ],
)
def test_names_are_read_without_what_wrappers_add(tmp_path: Path, stored: list[str], names: list[str]) -> None:
    path = write(tmp_path / "weights.safetensors", {name: np.full(2, i, np.float32) for i, name in enumerate(stored)})
    with pytest.warns(UserWarning, match=f"^{path}: {stored[0]} is read as {names[0]}, and so on$"):
        assert_same(loaded(path), {name: np.full(2, i, np.float32) for i, name in enumerate(names)})


def test_two_networks_in_one_file_keep_their_names(tmp_path: Path) -> None:
    arrays = {"module.a": ARRAYS["half"], "a": ARRAYS["brain"]}
    assert_same(loaded(write(tmp_path / "weights.safetensors", arrays)), arrays)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "absent"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, suffix: str, damage: str) -> None:
    if suffix != ".safetensors":
        pytest.importorskip("torch")
    path = write(tmp_path / f"weights{suffix}", ARRAYS)
    data = path.read_bytes()
    path.write_bytes({"truncated": data[:-40], "empty": b"", "garbage": b"<html>not found</html>" * 9}.get(damage, b""))
    if damage == "absent":
        path.unlink()
    with pytest.raises(UserError, match=f"^{path}: (damaged|no such file)") as caught:
        read_file(path)
    assert "\n" not in str(caught.value)


def test_huge_and_overlapping_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, {"a": ARRAYS["a.weight"]})
    data = path.read_bytes()
    for bad in ((2**62).to_bytes(8, "little") + data[8:], data.replace(b"[2,3]", b"[9,9]")):
        path.write_bytes(bad)
        with pytest.raises(UserError, match="damaged or no safetensors file"):
            read_file(path)


def test_types_without_a_counterpart_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    eighths = {"a": torch.zeros(3, dtype=torch.float8_e4m3fn)}
    save_file(eighths, tmp_path / "weights.safetensors")
    torch.save(eighths, tmp_path / "weights.pth")
    for name in ("weights.safetensors", "weights.pth"):
        with pytest.raises(UserError, match="which no weights have"):
            read_file(tmp_path / name)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(UserError, match=r"not a checkpoint; files end in \.safetensors"):
        read_file(tmp_path / "weights.pkl")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple:
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("form", ["plain", "legacy", "zip"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, target = tmp_path / "weights.pth", tmp_path / "payload-ran"
    contents = {"state_dict": {"a": torch.zeros(2)}, "payload": Payload(target)}
    if form == "plain":
        path.write_bytes(pickle.dumps({"payload": Payload(target)}))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UserError, match="holds more than tensors and plain containers, which is not read for safety"):
        read_file(path)
    assert not target.exists()


class HyperParameters(dict):
    """What a Lightning checkpoint may have beside its tensors."""


def test_a_checkpoint_with_other_objects_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    contents = {"state_dict": {"a": torch.zeros(2)}, "hyper_parameters": HyperParameters(lr=1.0)}
    torch.save(contents, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: .*or save its state dict alone"):
        read_file(tmp_path / "last.ckpt")


@pytest.mark.parametrize("contents", [{}, {"state_dict": 3}, [1, 2], {"epoch": 4}])
def test_a_pickle_without_tensors_is_refused(tmp_path: Path, contents: object) -> None:
    torch = pytest.importorskip("torch")
    torch.save(contents, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"holds no (tensors|state dict)"):
        read_file(tmp_path / "weights.pth")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "[" * 500 + "]" * 500, "\udcff", "null"])
def test_json_garbage_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json(: holds no JSON object| is no JSON| is no UTF-8 text)"):
        read_json(tmp_path / "config.json")
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "absent.json")


def test_writing_does_not_change_or_copy_what_is_contiguous(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    readonly = np.arange(4, dtype=np.float32)
    readonly.flags.writeable = False
    for name, writer in (
        ("a.safetensors", write_safetensors),
        ("a.bin", lambda p, t: write_pickle(p, t, lightning=False)),
    ):
        writer(tmp_path / name, {"a": readonly, "turned": ARRAYS["a.weight"].T})
        assert_same(loaded(tmp_path / name), {"a": readonly, "turned": ARRAYS["a.weight"].T})
