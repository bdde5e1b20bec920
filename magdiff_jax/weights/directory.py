"""A MagDiff model on disk: a self-contained folder that needs nothing else to run.

model.json                       what the model is, where it came from, fingerprints of its parameters
unet/ vae/ text_encoder/ …       config.json, the parameters (Orbax, under params/) and their files' SHA256SUMS
tokenizer/                       as transformers reads it
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from magdiff_jax.config import AnyConfig, Config, ConfigError
from magdiff_jax.cutout import CLIP_CROP
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.errors import UserError
from magdiff_jax.models import COMPONENTS, Params
from magdiff_jax.models.network import flatten
from magdiff_jax.weights.files import PICKLES, read_json, sha256, write_json
from magdiff_jax.weights.names import shown

# The file that makes a folder a model, and the format that it names.
MARK = "model.json"
FORMAT = "magdiff_jax 1"
# Damage is looked for before Orbax reads: it may return wrong values, or leave its threads' errors on the screen.
CHECKSUMS = "SHA256SUMS"
# In bytes: larger networks have a file for each array.
SMALL = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class ModelConfig(Config):
    """What a model is beside its networks.

    Attributes:
        frames: of a clip that it was trained on.
        resolution: height and width in pixels that it was trained on.
        sda: subject-driven alignment: the subject is cut out by its mask. Without it (an ablation of the paper)
            the whole reference picture conditions the model.
        clip_crop: side in pixels of the square that image prompts are fitted to before the vision tower's own
            preprocessing.
        other_names: components that came with the other one of the two namings in use (`weights/table.py`).
        sources: the files that the model was converted from: folder and name by SHA-256 sum.
    """

    frames: int = 8
    resolution: int = 256
    sda: bool = True
    clip_crop: int = CLIP_CROP
    other_names: tuple[str, ...] = ()
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._require_positive("frames", "resolution", "clip_crop")


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
    networks: Mapping[str, Any]
    fingerprints: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """One SHA-256 that names the whole model's parameters."""
        return hashlib.sha256(json.dumps(dict(self.fingerprints), sort_keys=True).encode()).hexdigest()


def write_component(folder: Path, name: str, config: Config, params: Params) -> str:
    """Write one network into a model's folder and return its parameters' fingerprint."""
    import orbax.checkpoint as ocp

    (folder / name).mkdir()
    write_json(folder / name / "config.json", config.to_dict())
    # Few files or no copies: a copy of the arrays, and files that hold many, each take the parameters' memory again.
    small = sum(leaf.nbytes for leaf in jax.tree.leaves(params)) <= SMALL
    uncopied = ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)
    registry = ocp.type_handlers.create_type_handler_registry((np.ndarray, uncopied))
    alone = _alone()
    handler = ocp.PyTreeCheckpointHandler(
        use_ocdbt=small, type_handler_registry=registry, multiprocessing_options=alone
    )
    with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        checkpointer.save((folder / name / "params").absolute(), args=ocp.args.PyTreeSave(params))
    (folder / name / CHECKSUMS).write_text("".join(f"{line}\n" for line in _checksums(folder / name)), encoding="utf-8")
    return fingerprint(params)


def write_description(
    folder: Path, model: ModelConfig, schedule: ScheduleConfig, fingerprints: Mapping[str, str]
) -> None:
    """Write what says that a folder is a model; the last thing to write."""
    description = {"format": FORMAT, **model.to_dict(), "schedule": schedule.to_dict(), "fingerprints": fingerprints}
    write_json(folder / MARK, description)


def read_description(folder: Path) -> Description:
    """Read and check all configurations.

    Raises:
        UserError: the folder is no model of ours, or holds other weights too.
    """
    if not (folder / MARK).is_file():
        raise UserError(f"{folder}: no MagDiff model ({MARK} is missing); make one with tools/convert_torch_weights.py")
    values = read_json(folder / MARK)
    if values.pop("format", None) != FORMAT:
        raise UserError(f"{folder / MARK}: not of the format {FORMAT!r}; convert the model again")
    fingerprints, schedule_values = values.pop("fingerprints", None), values.pop("schedule", None)
    if not isinstance(fingerprints, dict) or not isinstance(schedule_values, dict):
        raise UserError(f"{folder / MARK}: lacks fingerprints or schedule; convert the model again")
    if not {"unet", "vae", "text_encoder"} <= set(fingerprints) <= set(COMPONENTS):
        raise UserError(f"{folder / MARK}: lists the components {sorted(fingerprints)}; convert the model again")
    schedule = _config(ScheduleConfig, schedule_values, folder / MARK)
    networks: dict[str, Any] = {
        name: _config(COMPONENTS[name][1], read_json(folder / name / "config.json"), folder / name / "config.json")
        for name in fingerprints
    }
    model = _config(ModelConfig, values, folder / MARK)
    _check_strangers(folder, fingerprints)
    return Description(model, schedule, networks, fingerprints)


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

    path = _checked_files(folder, name)
    params = _restore(path, shapes, jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes))
    if fingerprint(params) != expected:
        raise UserError(f"{path}: its values are not those that were written; convert or copy the model again")
    return params


def read_sharded(folder: Path, name: str, targets: Params) -> Params:
    """Read one network's parameters onto devices, each of which reads its own part and no more.

    Args:
        folder: of the model.
        name: of the component.
        targets: tree of `jax.ShapeDtypeStruct` with shardings; parameters are cast to their types.

    Raises:
        UserError: as `read_component`, but that only the files' checksums are compared.
    """
    import orbax.checkpoint as ocp

    def arguments(target: jax.ShapeDtypeStruct) -> ocp.ArrayRestoreArgs:
        return ocp.ArrayRestoreArgs(sharding=target.sharding, dtype=target.dtype, global_shape=target.shape)

    return _restore(_checked_files(folder, name), targets, jax.tree.map(arguments, targets))


def _checked_files(folder: Path, name: str) -> Path:
    """The folder of a component's parameters, after a look at all its files."""
    path = (folder / name / "params").absolute()
    sums = path.with_name(CHECKSUMS)
    if not sums.is_file():
        raise UserError(f"{sums}: no such file; convert or copy the model again")
    written = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    if damaged := sorted(set(written) - set(_checksums(path.parent))):
        raise UserError(
            f"{path.parent}: damaged or missing: {', '.join(map(_listed, damaged))}; convert or copy the model again"
        )
    # An emptied list has nothing to say against any file, and what it does not list may be read all the same.
    known = {"config.json", CHECKSUMS, *map(_listed, written)}
    strange = {each.relative_to(path.parent).as_posix() for each in path.parent.rglob("*") if not each.is_dir()} - known
    if strange:
        raise UserError(
            f"{path.parent}: {CHECKSUMS} does not list {shown(sorted(strange))}; delete what is not of the model, or "
            "convert or copy it again"
        )
    return path


def _listed(line: str) -> str:
    """The file that a line of the checksums is of."""
    return line.partition("  ")[2]


def _check_strangers(folder: Path, components: Collection[str]) -> None:
    """Raises UserError where a model's folder has weights beside its components, which are not those that are read."""
    strange = [path.name for path in folder.iterdir() if path.suffix in (".safetensors", *PICKLES)]
    strange += [name for name in COMPONENTS if name not in components and (folder / name).exists()]
    if strange:
        raise UserError(f"{folder}: {MARK} does not list {shown(sorted(strange))}; move what is not of the model away")


def _restore(path: Path, shapes: Params, arguments: Params) -> Params:
    import orbax.checkpoint as ocp

    alone = _alone()
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    try:
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
            stored = flatten(checkpointer.metadata(path).item_metadata.tree)
            if sorted(_sizes(stored), key=str) == sorted(_sizes(flatten(shapes)), key=str):
                return checkpointer.restore(path, args=ocp.args.PyTreeRestore(item=shapes, restore_args=arguments))
    except Exception as error:  # Orbax and TensorStore raise bare exceptions for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged ({reason[:200]}); convert or copy the model again") from error
    raise UserError(
        f"{path}: of another architecture than {path.parent.name}/config.json says; convert the model again"
    )


def _alone() -> Any:
    """Orbax's options for a process of several that reads or writes for itself, and waits for none."""
    import orbax.checkpoint as ocp

    return ocp.options.MultiprocessingOptions(jax.process_index(), {jax.process_index()})


def _sizes(leaves: list[tuple[Any, Any]]) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    return [(tuple(str(key) for key in path), tuple(leaf.shape)) for path, leaf in leaves]


def _checksums(folder: Path) -> list[str]:
    """The files of a component's parameters, each in a line as `sha256sum` writes and checks it."""
    paths = sorted(path for path in (folder / "params").rglob("*") if path.is_file())
    return [f"{sha256(path)}  {path.relative_to(folder).as_posix()}" for path in paths]


def _config(config: type[AnyConfig], values: Mapping[str, Any], path: Path) -> AnyConfig:
    try:
        return config.from_dict(values)
    except (ConfigError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None
