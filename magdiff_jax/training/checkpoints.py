"""The checkpoints of a run: written while the training goes on, the last good one found again.

STEP/                        see `checkpoint`
STEP.orbax-checkpoint-tmp/   being written, or left by a run that ended in the middle; removed by the next run's save
damaged-STEP/                set aside by a run that went on from an earlier step
"""

import itertools
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from magdiff_jax.errors import UserError
from magdiff_jax.training import checkpoint
from magdiff_jax.training.checkpoint import DamagedError


class Restored(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        step: that it was saved at.
        state: on the devices that the target names.
        extra: as it was given to `save`.
    """

    step: int
    state: Any
    extra: dict[str, Any]


class _Manager(ocp.CheckpointManager):
    """Orbax's, without its own look at preemptions: `sharding.distributed.Preemption` counts who asks.

    Orbax would also note how much work the save has rescued, from the time of a checkpoint that it has not read.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """The checkpoints in a folder. All processes of a run make the same calls; the first is to `restore`.

    Reading changes nothing in the folder, so that other programs may read while a run writes.
    """

    def __init__(self, folder: Path, keep: int):
        """
        Args:
            folder: made by the first save, unless it is there.
            keep: how many of the last ones stay, at least 1; the one with the lowest loss stays too.
        """
        self._folder = folder.absolute()
        self._keep = keep
        # Made by the first save: it lists the folder once, and everything in it has been looked at then.
        self._manager: _Manager | None = None
        self._losses: dict[int, float] = {}
        self._good: set[int] = set()
        self._damaged: list[int] = []
        self._writing = -1

    def save(self, step: int, state: Any, extra: Mapping[str, Any], loss: float | None = None) -> None:
        """Start to write a checkpoint; returns when the arrays may be donated.

        A step that this object has restored or saved already is not written again.

        Args:
            step: above those that are there, but for the damaged ones that `restore` found.
            state: tree of arrays, none of them empty, sharded in any way.
            extra: what else the run needs, as JSON.
            loss: for the choice of the best one; None or NaN: no candidate.

        Raises:
            UserError: this one, or the one before, could not be written; those that were there are unharmed. Or the
                folder holds later ones that are not damaged.
        """
        self.wait()
        if step in self._good:
            return
        items = checkpoint.to_items(state, extra, loss)
        self._writing = step
        with self._errors_of_writing():
            if self._manager is None:
                self._manager = self._make_manager(step)
            if loss is not None and loss == loss:
                self._losses[step] = loss
            self._manager.save(step, args=items, force=True)
        self._good.add(step)

    def restore(self, target: Any) -> Restored | None:
        """The newest good checkpoint; None where there is none at all.

        A damaged one is named in a warning, and the one before it is tried. If the run goes on and saves, the damaged
        ones are set aside first, so that their steps can be saved again.

        Args:
            target: tree of jax.ShapeDtypeStruct with shardings, of the state's structure. They may be of other devices
                and processes than those that saved.

        Raises:
            UserError: all are damaged, or one was saved of a state with other arrays than the target.
        """
        self.close()
        damaged: list[int] = []
        for step in reversed(self.steps()):
            try:
                state, extra = checkpoint.read(self._path(step), target)
            except DamagedError as error:
                warnings.warn(f"{self._path(step)} is damaged and not used: {error}", stacklevel=2)
                damaged.append(step)
            else:
                self._good, self._damaged = {step}, damaged
                return Restored(step, state, extra)
        if damaged:
            raise UserError(f"{self._folder}: all checkpoints are damaged ({_listed(damaged)}): move them away")
        return None

    def restore_step(self, target: Any, step: int) -> Restored:
        """The checkpoint of a step; see `restore`.

        Raises:
            UserError: it is not there, or damaged, or was saved of a state with other arrays than the target.
        """
        self.close()
        if step not in self.steps():
            raise UserError(f"{self._folder}: no checkpoint of step {step}, only of: {_listed(self.steps())}")
        try:
            return Restored(step, *checkpoint.read(self._path(step), target))
        except DamagedError as error:
            raise UserError(f"{self._path(step)} is damaged: {error}; take another one") from error

    def steps(self) -> list[int]:
        """Of all checkpoints that are there, damaged ones included, in order."""
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdecimal() and path.is_dir())

    def wait(self) -> None:
        """Until nothing is left to write. Raises UserError where the last checkpoint could not be written."""
        if self._manager is not None:
            with self._errors_of_writing():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """End the threads that write, when they are done; see `wait`."""
        self.wait()
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, step: int) -> Path:
        return self._folder / str(step)

    def _make_manager(self, step: int) -> _Manager:
        """One that will first save this step."""
        self._set_damaged_aside()
        if later := [other for other in self.steps() if other >= step]:
            raise UserError(f"{self._folder} holds later checkpoints than {step} ({_listed(later)}): move them away")
        losses = {there: checkpoint.read_loss(self._path(there)) for there in self.steps()}
        self._losses = {there: loss for there, loss in losses.items() if loss is not None}
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_LastAndBest(self._keep, self._losses),
            cleanup_tmp_directories=True,
            # Orbax's own records of older steps may be damaged, and are not needed.
            lightweight_initialize=True,
        )
        return _Manager(self._folder, options=options)

    def _set_damaged_aside(self) -> None:
        if jax.process_index() == 0:
            for step in self._damaged:
                names = (f"damaged-{step}" + f"-{i}" * (i > 1) for i in itertools.count(1))
                self._path(step).rename(next(path for name in names if not (path := self._folder / name).exists()))
        self._damaged = []
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints are set aside")

    @contextmanager
    def _errors_of_writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise several kinds
            # The next save starts from what is on disk.
            manager, self._manager = self._manager, None
            self._good.discard(self._writing)
            if manager is not None:
                with suppress(Exception):  # the same one again
                    manager.close()
            if (reason := _refusal(error)) is None:
                raise
            raise UserError(
                f"{self._path(self._writing)} could not be written: {reason}; the checkpoints before it are unharmed"
            ) from error


class _LastAndBest:
    """A preservation policy of Orbax: the last `keep` ones and the one with the lowest loss."""

    def __init__(self, keep: int, losses: Mapping[int, float]):
        self._keep = keep
        self._losses = losses

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        steps = [info.step for info in checkpoints]
        best = min((step for step in steps if step in self._losses), key=self._losses.__getitem__, default=None)
        return [step == best or step in steps[-self._keep :] for step in steps]


def _refusal(error: Exception) -> str | None:
    """What the operating system said, where it is to blame."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    code = re.search(r"os_error_code='(\d+)'", str(error))  # TensorStore's
    return os.strerror(int(code[1])) if code else None


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(steps))) or "none"
