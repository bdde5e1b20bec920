"""A MagDiff model on disk: a self-contained folder that needs nothing else to run.

    model.json                       what the model is, where it came from, fingerprints of its parameters
    unet/ vae/ text_encoder/ …       config.json and the parameters (Orbax, under params/)
    tokenizer/                       as transformers reads it
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from magdiff_jax.config import AnyConfig, Config, ConfigError
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.errors import UserError
from magdiff_jax.models import COMPONENTS, Params
from magdiff_jax.models.network import flatten
from magdiff_jax.weights.files import read_json

FORMAT = 1
# The file that makes a folder a model.
MARK = "model.json"


@dataclasses.dataclass(frozen=True)
class ModelConfig(Config):
    """What a model is beside its networks.

    Attributes:
        frames: of a clip that it was trained on.
        resolution: height and width in pixels that it was trained on.
        sda: subject-driven alignment: the subject is cut out by its mask. Without it (an ablation of the paper)
            the whole reference picture conditions the model.
        old_attention_names: the VAE came with `query`, `key`, … for `to_q`, `to_k`, …
        sources: SHA-256 sums of the files that the model was converted from, by file name.
    """

    frames: int = 8
    resolution: int = 256
    sda: bool = True
    old_attention_names: bool = False
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._require_positive("frames", "resolution")


def fingerprint(params: Params) -> str:
    """Hexadecimal SHA-256 of all parameters: paths, types, shapes and values, in the order of their paths."""
    digest = hashlib.sha256()
    for path, leaf in sorted(flatten(params), key=lambda item: [str(key) for key in item[0]]):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{path} {array.dtype} {array.shape}".encode())
        digest.update(array.view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


class Description(NamedTuple):
    """All of a model's folder but the parameters.

    Attributes:
        model: the model's own configuration.
        schedule: noise schedule and sampling.
        networks: configuration of each component that the folder has.
        fingerprints: of each component's parameters.
    """

    model: ModelConfig
    schedule: ScheduleConfig
    networks: Mapping[str, Config]
    fingerprints: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """One SHA-256 that names the whole model's parameters."""
        return hashlib.sha256(json.dumps(dict(self.fingerprints), sort_keys=True).encode()).hexdigest()


def write_component(folder: Path, name: str, config: Config, params: Params) -> str:
    """Write one network into a model's folder and return its parameters' fingerprint."""
    import orbax.checkpoint as ocp

    (folder / name).mkdir()
    _write_json(folder / name / "config.json", config.to_dict())
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save((folder / name / "params").absolute(), args=ocp.args.PyTreeSave(params))
    return fingerprint(params)


def write_description(
    folder: Path, model: ModelConfig, schedule: ScheduleConfig, fingerprints: Mapping[str, str]
) -> None:
    """Write what says that a folder is a model; the last thing to write."""
    description = {"format": FORMAT, **model.to_dict(), "schedule": schedule.to_dict(), "fingerprints": fingerprints}
    _write_json(folder / MARK, description)


def read_description(folder: Path) -> Description:
    """Read and check all configurations. Raises UserError where the folder is no model of ours."""
    if not (folder / MARK).is_file():
        raise UserError(f"{folder}: no MagDiff model ({MARK} is missing); make one with tools/convert_torch_weights.py")
    values = read_json(folder / MARK)
    if values.pop("format", None) != FORMAT:
        raise UserError(f"{folder / 'model.json'}: not of format {FORMAT}; convert the model again")
    fingerprints = values.pop("fingerprints", {})
    unknown = set(fingerprints) - set(COMPONENTS)
    if unknown or not {"unet", "vae", "text_encoder"} <= set(fingerprints):
        raise UserError(f"{folder / 'model.json'}: lists the components {sorted(fingerprints)}; convert the model again")
    schedule = _config(ScheduleConfig, values.pop("schedule", {}), folder / MARK)
    networks = {
        name: _config(COMPONENTS[name][1], read_json(folder / name / "config.json"), folder / name / "config.json")
        for name in fingerprints
    }
    return Description(_config(ModelConfig, values, folder / MARK), schedule, networks, fingerprints)


def read_component(folder: Path, name: str, shapes: Params, expected: str) -> Params:
    """Read one network's parameters as NumPy arrays in the type they are stored in.

    Args:
        folder: of the model.
        name: of the component.
        shapes: tree of the parameters' shapes.
        expected: fingerprint that the parameters must have.

    Raises:
        UserError: the files are damaged, or not those that were written.
    """
    import orbax.checkpoint as ocp

    path = (folder / name / "params").absolute()
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            params = checkpointer.restore(path, args=ocp.args.PyTreeRestore(item=shapes, restore_args=as_numpy))
    except Exception as error:  # Orbax and TensorStore raise bare exceptions for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged ({reason[:200]}); convert or copy the model again") from error
    if fingerprint(params) != expected:
        raise UserError(f"{path}: its values are not those that were written; convert or copy the model again")
    return params


def _config(config: type[AnyConfig], values: Mapping[str, Any], path: Path) -> AnyConfig:
    try:
        return config.from_dict(values)
    except (ConfigError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
