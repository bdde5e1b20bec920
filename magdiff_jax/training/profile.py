"""A profile of some steps of a run, for TensorBoard (XProf) or Perfetto."""

import re
from pathlib import Path
from typing import Any

import jax

from magdiff_jax.errors import UserError


class Profiler:
    """Traces a window of steps into a folder.

    >>> with Profiler(workdir / "profile", "100:5") as profiler:
    ...     for step in range(first, last + 1):
    ...         profiler.before(step)
    ...         state, metrics = train_step(state, batch)
    ...         profiler.after(step, metrics)

    Attributes:
        running: whether a trace is being taken.
    """

    def __init__(self, folder: Path, window: str = ""):
        """
        Args:
            folder: for `plugins/profile/…`, as TensorBoard reads it; each process adds its own.
            window: "START:STEPS", the first step and how many; empty: nothing is traced.

        Raises:
            UserError: `window` says something else.
        """
        match = re.fullmatch("([1-9][0-9]{0,8}):([1-9][0-9]{0,8})|", window)
        if not match:
            raise UserError(f"--profile {window}: must be START:STEPS, such as 100:5")
        self._folder = folder
        self._first, steps = (int(number or 0) for number in match.groups())
        self._last = self._first + steps - 1
        self.running = False

    def before(self, step: int) -> None:
        """Call before each step; they count from 1."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self.running = True

    def after(self, step: int, results: Any) -> None:
        """Call after each step with what it returned; at the last one of the window it is waited for."""
        if self.running and step == self._last:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """Write what was traced so far."""
        if self.running:
            self.running = False
            jax.profiler.stop_trace()

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
