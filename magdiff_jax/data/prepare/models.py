"""Load transformers' models from a folder or the model hub, onto the devices of this machine."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.revisions import check, content, pinned_folder, split
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


def devices(device: str | Sequence[str] | None) -> list[str]:
    """All devices that a config asks for, each once, with its number: "cuda:0".

    Args:
        device: one or more, as for `place`; None for all GPUs of this machine, or the CPU where there is none.

    Raises:
        ConfigError: there is no such device, or the list is empty.
        UserError: PyTorch is not installed.
    """
    require("prepare", "torch")
    import torch

    if device is None:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]
    found = [place(name, None).device for name in ([device] if isinstance(device, str) else device)]
    if not found:
        raise ConfigError("device = []: must name at least one; leave it out for all GPUs")
    return list(dict.fromkeys("cuda:0" if str(one) == "cuda" else str(one) for one in found))


def find(model: str, types: Sequence[str]) -> Path:
    """The folder of a model that is in the file system, in the hub's cache or on the hub.

    Args:
        model: its folder, or its name on the hub ("owner/name"), with or without a revision (see `revisions`).
        types: of which it may be, as `model_type` in its config.json.

    Raises:
        UserError: it is nowhere, cannot be fetched, is of another type or another revision.
    """
    from huggingface_hub import snapshot_download

    name, revision = split(model)
    folder = Path(name)
    if not folder.is_dir():
        # Not left to transformers, which asks an unreachable hub for minutes before it says so.
        folder = _fetched(model, lambda: snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
        return _checked(model, folder, types)
    _checked(model, folder, types)
    if revision is not None:
        check(model, content(folder))
    return folder


def pin(model: str, types: Sequence[str]) -> str:
    """The same model with its exact revision; of a folder, its absolute path. Nothing but its config.json is fetched.

    Args and errors are those of `find`; the revision may also be a branch or tag of the hub.
    """
    from huggingface_hub import snapshot_download

    name, revision = split(model)
    if Path(name).is_dir():
        return pinned_folder(find(model, types))
    # In the hub's cache, the folder has the commit's name.
    folder = _fetched(model, lambda: snapshot_download(name, revision=revision, allow_patterns=["config.json"]))
    return f"{name}@{_checked(model, folder, types).name}"


def load(model: str, loading: Callable[[], Any]) -> Any:
    """What `loading` returns: a model or a processor of `model`.

    Raises:
        UserError: it fails, as transformers does in many ways where files are missing or damaged.
    """
    try:
        return loading()
    except Exception as error:
        raise UserError(f"model {model}: it cannot be loaded ({_first_line(error)}); copy or fetch it again") from error


def stack(rows: Sequence[Any], filler: int, left: bool) -> Any:
    """Tensors [1, length] of different lengths as one of [rows, the greatest length], with `filler` on one side."""
    import torch

    length = max(row.shape[1] for row in rows)
    gaps = [length - row.shape[1] for row in rows]
    sides = [(gap, 0) if left else (0, gap) for gap in gaps]
    return torch.cat([torch.nn.functional.pad(row, side, value=filler) for row, side in zip(rows, sides, strict=True)])


def _fetched(model: str, fetch: Callable[[], str]) -> Path:
    try:
        return Path(fetch())
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
