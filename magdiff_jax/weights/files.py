"""Checkpoint files of PyTorch's world, read one tensor at a time.

`.safetensors` needs nothing further. Pickles (`.bin`, `.pth`, `.pt`, `.ckpt`) are read by torch with
`weights_only=True`, which builds tensors and plain containers and refuses everything else. They are mapped into
memory, but for those of PyTorch before 1.6, which are held whole.
"""

import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from magdiff_jax.errors import UserError
from magdiff_jax.extras import require
from magdiff_jax.text import parse_json, read_text
from magdiff_jax.weights.names import shown, unwrapped

SAFETENSORS_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
# Bytes that are read from a mapped pickle before it is mapped anew, which lets go of the pages read so far.
REMAP_BYTES = 64 * 2**20
PICKLES = (".bin", ".pth", ".pt", ".ckpt")
# What a component's weights are called in a Stable Diffusion folder, best first.
WEIGHT_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
# What stands before the suffix of weights in another type; such files are taken where there are none in full.
VARIANTS = ("fp16", "bf16")


class Tensor(NamedTuple):
    """A tensor that is still in its file; `load` reads it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]


Tensors = dict[str, Tensor]


def read_file(path: Path) -> Tensors:
    """The tensors of one checkpoint file, their names without what wrappers of networks add (with a warning).

    Raises UserError where it cannot be read safely.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix not in (".safetensors", *PICKLES):
        raise UserError(f"{path}: not a checkpoint; files end in .safetensors, {', '.join(PICKLES)}")
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    names = unwrapped(tensors)
    if example := next((name for name, short in names.items() if name != short), None):
        warnings.warn(f"{path}: {example} is read as {names[example]}, and so on", stacklevel=2)
    return {names[name]: tensor for name, tensor in tensors.items()}


def read_folder(folder: Path) -> tuple[Tensors, list[Path]]:
    """The tensors of a component's folder, in one file or sharded with an index, and the files they are in."""
    path = _weights(folder)
    if path is None:
        others = sorted(file.name for file in folder.glob("*") if file.suffix in (".safetensors", *PICKLES))
        there = f"; rename what is meant of {shown(others)}" if others else ""
        raise UserError(
            f"{folder}: holds no weights; looked for {', '.join(WEIGHT_NAMES)}, with or without {', '.join(VARIANTS)} "
            f"before the suffix, and their .index.json{there}"
        )
    if path.suffix == ".json":
        shards = _shards(path)
        return _joined(shards), shards
    return read_file(path), [path]


def has_weights(folder: Path) -> bool:
    """Whether `read_folder` would find weights."""
    return _weights(folder) is not None


def _weights(folder: Path) -> Path | None:
    """A folder's weights, or the index of their shards; None where there are none."""
    names = (file for variant in ("", *VARIANTS) for name in WEIGHT_NAMES for file in _spellings(name, variant))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _spellings(name: str, variant: str) -> tuple[str, ...]:
    """What a variant of a file may be called: its index, where diffusers has put the variant in two places, or it."""
    if not variant:
        return f"{name}.index.json", name
    stem, _, suffix = name.rpartition(".")
    return f"{name}.index.{variant}.json", f"{stem}.{variant}.{suffix}.index.json", f"{stem}.{variant}.{suffix}"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError where there is none."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    values = parse_json(read_text(path), str(path))
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no JSON object")
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """The inverse of `read_json`."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """A `.safetensors` file as PyTorch's programs write it. Contiguous arrays are not copied."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path, {"format": "pt"})


def parse_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a `.safetensors` file's bytes. Raises ValueError where they are damaged or of unknown types."""
    try:
        return {
            name: np.frombuffer(tensor["data"], SAFETENSORS_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
            for name, tensor in deserialize(data)
        }
    except (SafetensorError, KeyError) as error:
        raise ValueError(str(error)) from None


def write_pickle(path: Path, tensors: Mapping[str, np.ndarray], *, lightning: bool) -> None:
    """A PyTorch file: the state dict itself or, as Lightning has it, under the key `state_dict`.

    Contiguous writable arrays are not copied. Raises UserError without torch.
    """
    torch = _torch()

    def tensor(array: np.ndarray) -> Any:
        array = np.require(array, requirements=("C", "W"))
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    state = {name: tensor(array) for name, array in tensors.items()}
    torch.save({"state_dict": state} if lightning else state, path)


def _joined(shards: list[Path]) -> Tensors:
    tensors: Tensors = {}
    for shard in shards:
        for name, tensor in read_file(shard).items():
            if name in tensors:
                raise UserError(f"{shard}: repeats the tensor {name} of another shard")
            tensors[name] = tensor
    return tensors


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index}: names no shards (weight_map)")
    names = set(map(str, weight_map.values()))
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{index}: names the shard {name!r}, which is not in its folder")
    return [index.parent / name for name in sorted(names)]


def _read_safetensors(path: Path) -> Tensors:
    def loader(name: str) -> Callable[[], np.ndarray]:
        def load() -> np.ndarray:
            with safe_open(path, "numpy") as file:
                return file.get_tensor(name)

        return load

    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, not a mapping
            return {
                name: Tensor(tuple(s.get_shape()), np.dtype(SAFETENSORS_DTYPES[s.get_dtype()]), loader(name))
                for name, s in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or no safetensors file ({error}); copy or download it again") from None
    except KeyError as error:
        raise UserError(f"{path}: holds tensors of type {error}, which no weights have") from None


class _Pickle:
    """A pickled checkpoint whose tensors are read by name."""

    def __init__(self, path: Path):
        self.path = path
        self.mapped = zipfile.is_zipfile(path)
        self.state = self._open()
        self._bytes_read = 0

    def load(self, name: str) -> np.ndarray:
        if self.mapped and self._bytes_read > REMAP_BYTES:
            self.state, self._bytes_read = self._open(), 0
        tensor = self.state[name].detach()
        self._bytes_read += tensor.nbytes
        return _to_numpy(tensor)

    def _open(self) -> dict[str, Any]:
        torch = _torch()
        try:
            contents = torch.load(self.path, map_location="cpu", weights_only=True, mmap=self.mapped)
        except Exception as error:  # torch raises its own, pickle's, zipfile's and the system's errors alike
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{self.path}: damaged, or holds more than tensors and plain containers, which is not read for "
                f"safety's sake ({reason}); copy or download it again, or save its state dict alone"
            ) from None
        state = contents.get("state_dict", contents) if isinstance(contents, dict) else None
        if not isinstance(state, dict):
            raise UserError(f"{self.path}: holds no state dict")
        tensors = {str(name): value for name, value in state.items() if isinstance(value, torch.Tensor)}
        if not tensors:
            raise UserError(f"{self.path}: holds no tensors")
        return tensors


def _to_numpy(tensor: Any) -> np.ndarray:
    import torch

    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _read_pickle(path: Path) -> Tensors:
    pickle = _Pickle(path)

    def tensor(name: str, value: Any) -> Tensor:
        try:
            dtype = _to_numpy(value.new_empty(0)).dtype
        except (TypeError, RuntimeError):
            raise UserError(f"{path}: {name} is of type {value.dtype}, which no weights have") from None
        return Tensor(tuple(value.shape), dtype, lambda: pickle.load(name))

    return {name: tensor(name, value) for name, value in pickle.state.items()}


def _torch() -> Any:
    require("convert", "torch")
    import torch

    return torch
