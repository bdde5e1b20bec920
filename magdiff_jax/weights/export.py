"""A MagDiff folder → PyTorch's files, with the original names.

    MagDiff.pth                       unet.… and enclip_projector.…, as Lightning saves them
    open_clip_pytorch_model.bin       the vision tower, with open_clip_config.json
    unet/ vae/ text_encoder/ tokenizer/ scheduler/      as in a Stable Diffusion folder
    resampler/config.json             the width of the resampler's heads, which its tensors do not tell
    exported_from.json                the MagDiff folder's model.json

so that `from_torch` with base = the folder, checkpoints = MagDiff.pth, vision = open_clip_pytorch_model.bin and the
options of the first conversion makes the same model again, bit for bit. Buffers that a source file had beside its
parameters (such as `position_ids`, and the text tower beside OpenCLIP's vision tower) do not come back.
"""

import shutil
from pathlib import Path

import numpy as np

from magdiff_jax import tokenizer
from magdiff_jax.models import build
from magdiff_jax.models.network import flatten
from magdiff_jax.replacing import check_replaceable, replacing
from magdiff_jax.weights import directory, files, torch_configs
from magdiff_jax.weights.sources import PREFIXES
from magdiff_jax.weights.table import Layout, other_name, table

# The suffixes of pickles (checkpoint, other weights), and of safetensors.
FORMATS = {"pickle": (".pth", ".bin"), "safetensors": (".safetensors", ".safetensors")}
# The file that makes a folder an export, which may be replaced by another one.
MARK = "exported_from.json"


def to_torch(model: Path, out: Path, format: str = "pickle") -> None:
    """Write a model as PyTorch's files; `format` is one of FORMATS. Raises UserError where the model is damaged."""
    description = directory.read_description(model)
    checkpoint_suffix, suffix = FORMATS[format]
    check_replaceable(out, MARK)
    with replacing(out) as new:
        for folder in ("unet", "vae", "text_encoder", "scheduler", "resampler"):
            (new / folder).mkdir(parents=True)
        tokenizer.copy_files(model / "tokenizer", new / "tokenizer")
        files.write_json(
            new / "scheduler" / "scheduler_config.json", torch_configs.schedule_values(description.schedule)
        )
        checkpoint: dict[str, np.ndarray] = {}
        for name, config in description.networks.items():
            tensors = _tensors(model, name, description)
            match name:
                case "unet":
                    files.write_json(new / "unet" / "config.json", torch_configs.unet_values(config))
                    checkpoint |= tensors
                case "resampler":
                    files.write_json(new / "resampler" / "config.json", config.to_dict())
                    checkpoint |= tensors
                case "vae":
                    files.write_json(new / "vae" / "config.json", torch_configs.vae_values(config))
                    _write(new / "vae" / f"diffusion_pytorch_model{suffix}", tensors)
                case "text_encoder":
                    files.write_json(new / "text_encoder" / "config.json", torch_configs.text_values(config))
                    stem = "model" if suffix == ".safetensors" else "pytorch_model"
                    _write(new / "text_encoder" / f"{stem}{suffix}", tensors)
                case "vision":
                    files.write_json(new / "open_clip_config.json", torch_configs.vision_values(config))
                    _write(new / f"open_clip_pytorch_model{suffix}", tensors)
        _write(new / f"MagDiff{checkpoint_suffix}", checkpoint)
        shutil.copyfile(model / directory.MARK, new / MARK)


def _tensors(model: Path, name: str, description: directory.Description) -> dict[str, np.ndarray]:
    """A component's tensors by PyTorch's names; takes the memory of the component and of one tensor more."""
    network = build(name, description.networks[name])
    leaves = dict(flatten(directory.read_component(model, name, network.shapes, description.fingerprints[name])))
    rename = other_name if name in description.model.other_names else str
    prefix = {"unet": PREFIXES["unet"], "resampler": PREFIXES["resampler"], "vision": "visual."}.get(name, "")
    return {prefix + rename(entry.name): _turned_in_place(entry.layout, leaves[entry.path]) for entry in table(network)}


def _turned_in_place(layout: Layout, array: np.ndarray) -> np.ndarray:
    turned = layout.to_torch(array)
    in_place = array.reshape(turned.shape)
    in_place[...] = turned.copy()
    return in_place


def _write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    if path.suffix == ".safetensors":
        files.write_safetensors(path, tensors)
    else:
        files.write_pickle(path, tensors, lightning=path.suffix == ".pth")
