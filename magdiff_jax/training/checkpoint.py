"""One checkpoint: what is written, and how it is checked when it is read.

state/                the arrays, by their paths in the state (Orbax)
record/metadata       JSON: type, shape and checksum of each array, the loss, and what else the run needs
commit_success.txt    written last, by Orbax
"""

import gc
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from magdiff_jax.errors import UserError
from magdiff_jax.training.checksums import checksums

_STATE, _RECORD, _COMMITTED = "state", "record", "commit_success.txt"


class DamagedError(Exception):
    """A checkpoint does not hold what was written; the text says which part."""


def to_items(state: Any, extra: Mapping[str, Any], loss: float | None) -> ocp.args.Composite:
    """What Orbax shall write."""
    arrays = _by_path(state)
    loss = None if loss is None or math.isnan(loss) else loss
    content = {"loss": loss, "extra": extra, "arrays": _with_checksums(arrays)}
    # As it will be read, and the caller's own objects no longer: they may change before it is written.
    content = json.loads(json.dumps(content))
    record = {"sha256": _sha256(content), "content": content}
    return ocp.args.Composite(**{_STATE: ocp.args.PyTreeSave(arrays), _RECORD: ocp.args.JsonSave(record)})


def read(folder: Path, target: Any) -> tuple[Any, dict[str, Any]]:
    """The state and the extra JSON of a checkpoint, checked.

    Args:
        folder: of the checkpoint.
        target: tree of jax.ShapeDtypeStruct with shardings, of the state's structure.

    Raises:
        DamagedError: in all processes alike.
        UserError: the state has other arrays than the target.
    """
    wanted = _by_path(target)
    problem = None
    try:
        content = _read_content(folder)
        _check_same(folder, content["arrays"], wanted)
        arrays = _read_arrays(folder / _STATE, wanted)
    except DamagedError as error:
        problem = error
    if _anywhere(problem is not None):
        raise problem or DamagedError("another process could not read it")
    found = _with_checksums(arrays)
    if changed := [name for name, written in content["arrays"].items() if found[name] != written]:
        raise DamagedError(f"other values than were written in {_listed(changed)}")
    return jax.tree.unflatten(jax.tree.structure(target), arrays.values()), content["extra"]


def read_loss(folder: Path) -> float | None:
    """The loss that a checkpoint was saved with; None where there is none or its record is damaged."""
    try:
        return _read_content(folder)["loss"]
    except DamagedError:
        return None


def _by_path(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _described(array: Any) -> dict[str, Any]:
    return {"dtype": str(array.dtype), "shape": list(array.shape)}


def _with_checksums(arrays: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    sums = checksums(arrays)
    return {name: {**_described(array), "checksum": sums[name]} for name, array in arrays.items()}


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_content(folder: Path) -> dict[str, Any]:
    if not (folder / _COMMITTED).is_file():
        raise DamagedError(f"it was not finished, {_COMMITTED} is missing")
    path = folder / _RECORD / "metadata"
    try:
        record = json.loads(path.read_bytes())
        whole = record["sha256"] == _sha256(record["content"])
    except OSError as error:
        raise DamagedError(f"{_RECORD}/metadata: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise DamagedError(f"{_RECORD}/metadata is not as written")
    return record["content"]


def _check_same(folder: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises UserError where a checkpoint's arrays are not those that are wanted."""
    differences = []
    if missing := [name for name in wanted if name not in stored]:
        differences.append(f"it lacks {_listed(missing)}")
    if further := [name for name in stored if name not in wanted]:
        differences.append(f"it has also {_listed(further)}")
    for name, array in wanted.items():
        if name in stored and (other := {**stored[name], **_described(array)}) != stored[name]:
            there, here = (f"{each['dtype']}{each['shape']}" for each in (stored[name], other))
            differences.append(f"{name} is {there}, not {here}")
    if differences:
        raise UserError(f"{folder}: saved with another configuration: {_listed(differences, '; ')}")


def _read_arrays(folder: Path, wanted: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The arrays, in the order in which they are wanted."""
    restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
    # Not through Orbax's manager: its processes would wait for one that fails.
    handler = ocp.PyTreeCheckpointHandler()
    try:
        with _silent_threads():
            arrays = handler.restore(folder, args=ocp.args.PyTreeRestore(wanted, restore_args=restore_args))
    except (MemoryError, jax.errors.JaxRuntimeError):
        raise  # the machine's trouble
    except Exception as error:  # Orbax and TensorStore raise several kinds, bare ones too
        # TensorStore names one of those that it could not read.
        named = [name for name in wanted if re.search(rf"""['"]{re.escape(name)}/""", str(error))]
        reason = f"{_listed(named)} cannot be read" if named else f"{_STATE} cannot be read ({_first_line(error)})"
        raise DamagedError(reason) from error
    return {name: arrays[name] for name in wanted}


@contextmanager
def _silent_threads() -> Iterator[None]:
    """Orbax ends its event loop at the first array that cannot be read; the threads of all others complain of it."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook


def _anywhere(problem: bool) -> bool:
    """Whether any process has one."""
    if jax.process_count() == 1:
        return problem
    return bool(np.any(multihost_utils.process_allgather(np.array(problem))))


def _listed(names: Sequence[str], separator: str = ", ", most: int = 5) -> str:
    more = f"{separator}and {len(names) - most} more" * (len(names) > most)
    return separator.join(names[:most]) + more


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
