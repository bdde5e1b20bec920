"""Load transformers' models from a folder or the model hub, and feed them clips in bounded memory."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.config import ConfigError
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require

DTYPES = ("float32", "bfloat16", "float16")

# What a model consists of; hubs also hold the same weights in older formats.
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


class Placement(NamedTuple):
    """Where a model computes, and in which floating-point type."""

    device: Any  # torch.device
    dtype: Any  # torch.dtype


def place(device: str | None, dtype: str | None) -> Placement:
    """The device and type that a config asks for.

    Args:
        device: as PyTorch names it, such as "cuda:1"; None for the first GPU, or the CPU where there is none.
        dtype: one of `DTYPES`; None for float32 on the CPU, else bfloat16 or, on GPUs that lack it, float16.

    Raises:
        ConfigError: no such device or type.
        UserError: PyTorch is not installed.
    """
    require("prepare", "torch")
    import torch

    cuda = torch.cuda.is_available()
    try:
        found = torch.device(device or ("cuda" if cuda else "cpu"))
    except RuntimeError:
        raise ConfigError(f'device = {device!r}: must be "cpu", "cuda" or "cuda:0", "cuda:1", …') from None
    if found.type == "cuda" and (not cuda or (found.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(f"device = {device!r}: PyTorch finds no such GPU; leave device out or name another")
    if dtype is None:
        half = "bfloat16" if cuda and torch.cuda.is_bf16_supported() else "float16"
        dtype = "float32" if found.type == "cpu" else half
    if dtype not in DTYPES:
        raise ConfigError(f"dtype = {dtype!r}: must be one of {', '.join(DTYPES)}")
    return Placement(found, getattr(torch, dtype))


def find(model: str, types: Sequence[str]) -> Path:
    """The folder of a model that is in the file system, in the hub's cache or on the hub.

    Args:
        model: its folder, or its name on the hub ("owner/name").
        types: of which it may be, as `model_type` in its config.json.

    Raises:
        UserError: it is nowhere, cannot be fetched, or is of another type.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _fetch(model)
    return _checked(model, folder, types)


def load(model: str, loading: Callable[[], Any]) -> Any:
    """What `loading` returns: a model or a processor of `model`.

    Raises:
        UserError: it fails, as transformers does in many ways where files are missing or damaged.
    """
    try:
        return loading()
    except Exception as error:
        raise UserError(f"model {model}: it cannot be loaded ({_first_line(error)}); copy or fetch it again") from error


class LazyFrames:
    """The frames of a clip in the form that a model takes, prepared one at a time.

    It serves transformers' video sessions as their `processed_frames`: a clip prepared as a whole takes 12 MB a frame.

    Args:
        frames: of the clip.
        prepare: a frame → a tensor [3, height, width].
    """

    def __init__(self, frames: Any, prepare: Callable[[UInt8[np.ndarray, "_height _width 3"]], Any]):
        self._frames = frames
        self._prepare = prepare

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Any:
        return self._prepare(self._frames[index])


def forget(session: Any, frame: int) -> None:
    """Drop what a session of SAM 2 or 3 still holds of a frame that it has tracked; memories of prompts stay."""
    for outputs in session.output_dict_per_obj.values():
        outputs["non_cond_frame_outputs"].pop(frame, None)


def _fetch(model: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        # Not left to transformers, which asks an unreachable hub for minutes before it says so.
        return Path(snapshot_download(model, allow_patterns=list(_FILES)))
    except Exception as error:
        raise UserError(
            f"model {model}: it is neither a folder, nor in the hub's cache, nor can it be fetched from the hub "
            f"({_first_line(error)}); name a folder that holds it instead"
        ) from error


def _checked(model: str, folder: Path, types: Sequence[str]) -> Path:
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"model {model}: it has no config.json that names a model_type; name another folder") from error
    if found not in types:
        # Transformers would load it all the same, with random weights.
        raise UserError(f"model {model}: it is of type {found}; this stage takes {' or '.join(types)}")
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
