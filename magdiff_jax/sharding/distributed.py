"""Several processes as one run."""

import os
import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from magdiff_jax.errors import UserError

# What schedulers and clouds tell each of several processes: the variable, and the values that mean there is but one.
_ANNOUNCED = {
    "SLURM_NTASKS": ("", "1"),
    "OMPI_COMM_WORLD_SIZE": ("", "1"),
    "MEGASCALE_NUM_SLICES": ("", "1"),
    "JOBSET_NAME": ("",),
}

_YEAR = 365 * 24 * 3600


def start(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Join the other processes of a run, where there are others. Call before anything else asks for devices.

    Slurm, MPI, TPU pods and GKE's job sets are found by their environment variables; elsewhere the flags say it all.

    Args:
        coordinator: HOST:PORT of the first process.
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        UserError: some flags without the others, or the others do not answer.
    """
    flags = (coordinator, processes, process)
    if flags == (None, None, None) and not is_announced(os.environ):
        return
    if None in flags and flags != (None, None, None):
        raise UserError("--coordinator, --processes and --process belong together: give all three, or none")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the run's processes did not find each other ({reason}); check --coordinator, or set them by hand"
        ) from error


def wait_for_all(name: str) -> None:
    """Return when all processes of the run have come here, however long that takes.

    Needed at the end of a run whose processes are not equally fast: JAX ends all that are still at work some minutes
    after the first one has left.
    """
    ocp.multihost.sync_global_processes(name, timeout=_YEAR, processes=set(range(jax.process_count())))


def is_announced(environment: Mapping[str, str]) -> bool:
    """Whether the environment says that this is one of several processes."""
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return len(hosts) > 1 or any(environment.get(name, "") not in ones for name, ones in _ANNOUNCED.items())


class Preemption:
    """Notices that the machine is about to be taken away (SIGTERM), on all processes at the same step."""

    def __init__(self) -> None:
        self._told = False
        self._calls = 0
        self._previous: Any = None

    def __enter__(self) -> "Preemption":
        if jax.process_count() == 1:
            self._previous = signal.signal(signal.SIGTERM, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._previous)

    def reached(self) -> bool:
        """Whether to stop here. All processes are to ask after every step; JAX's coordination service agrees on one."""
        if jax.process_count() > 1:
            # It takes numbers that begin at 1: told before the first of them, it says "at 1", wherever a run goes on.
            self._calls += 1
            return multihost_utils.reached_preemption_sync_point(self._calls)
        return self._told

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self._told = True
