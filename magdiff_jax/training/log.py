"""A run as it is watched: progress bar, metrics.jsonl, TensorBoard and sample clips, from the first process alone."""

import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from magdiff_jax.errors import UserError
from magdiff_jax.media.writing import write_video
from magdiff_jax.training.devices import peak_memory
from magdiff_jax.training.metrics import Means
from magdiff_jax.training.sinks import EventFile, MetricsFile

# Steps that the device may be behind: it always has its next one waiting.
LAG = 2
# Losses in a row that are not finite, after which a run has no hope.
PATIENCE = 3


class NotFiniteError(UserError):
    """The loss was not finite `PATIENCE` times in a row."""


class _Step(NamedTuple):
    """A step that was taken in; its metrics may still be on the way."""

    number: int
    metrics: Mapping[str, Any]
    ids: Sequence[str]


class RunLog:
    """Takes the metrics of every step, and writes their means and the run's speed every so many.

    >>> with RunLog(folder, steps, start, every=50, clips=64) as log:
    ...     for step in range(start + 1, steps + 1):
    ...         state, metrics = train_step(state, next(batches))
    ...         log.step(step, metrics)
    ...         if step % 500 == 0:
    ...             with log.paused():
    ...                 log.scalars(step, {"validation/loss": validate(state)})

    Steps count from 1. On a terminal a bar shows the loss, steps a second and the time left; elsewhere each entry is a
    line on stderr. Only the first process (`writes`) writes and shows anything; the others watch the loss along with
    it, so that all of them stop at the same step.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        start: int = 0,
        *,
        every: int,
        clips: int,
        flops: float | None = None,
        peak: float | None = None,
        writes: bool = True,
    ):
        """
        Args:
            folder: of the run; gets `metrics.jsonl`, `tensorboard/` and `samples/`.
            steps: of the whole run.
            start: steps done so far; what the folder holds beyond them, by a run that was killed, is dropped.
            every: steps from one entry to the next.
            clips: of a step, of all devices together.
            flops: of a step on one device; see `flops.count_flops`.
            peak: FLOP/s of one device at most; see `devices.peak_flops`.
            writes: False on all processes but the first.

        Raises:
            UserError: the operating system refuses to write.
        """
        self._folder, self._steps, self._every = folder, steps, every
        self._clips, self._flops, self._peak = clips, flops, peak
        self._waiting: deque[_Step] = deque()
        self._not_finite: list[_Step] = []
        # Of the next entry: its means, the step they reach to, since when its steps are timed, and how many were.
        self._means = Means()
        self._done = start
        self._since: float | None = None
        self._timed = 0
        self._files: tuple[MetricsFile, EventFile] | None = None
        if writes:
            with self._writing():
                self._files = MetricsFile(folder / "metrics.jsonl", start), EventFile(folder / "tensorboard", start)
        hidden = None if writes else True
        self._bar = tqdm(total=steps, initial=start, desc="training", unit="step", dynamic_ncols=True, disable=hidden)

    def step(self, step: int, metrics: Mapping[str, Any], ids: Sequence[str] = ()) -> None:
        """Take in a step that may still be running on the device; waits for the one `LAG` steps before it.

        Args:
            step: its number.
            metrics: on the device, "loss" among them; see `Means` for what they may be.
            ids: of the step's clips in this process.

        Raises:
            NotFiniteError: the loss of an earlier step was the third one in a row that is not finite.
            UserError: the operating system refuses to write.
        """
        self._waiting.append(_Step(step, metrics, ids))
        while len(self._waiting) > LAG:
            self._finish(self._waiting.popleft())

    def wait(self) -> None:
        """Wait for all steps taken in. Raises what `step` does."""
        while self._waiting:
            self._finish(self._waiting.popleft())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For what is no training step (validation, samples, a checkpoint): waits first, and is not timed."""
        self.wait()
        start = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - start
        self._bar.unpause()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write and show numbers of another kind, such as the validation loss. Raises UserError where it cannot."""
        self._write(step, values)
        self.say(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def clip(self, step: int, name: str, frames: UInt8[np.ndarray, "frame height width 3"], fps: int | float) -> None:
        """Write a clip as `samples/STEP-NAME.gif`, and to TensorBoard. Raises UserError where it cannot."""
        if self._files is not None:
            path = self._folder / "samples" / f"{step:08}-{name}.gif"
            with self._writing():
                path.parent.mkdir(exist_ok=True)
                write_video(path, frames, fps)
                _, events = self._files
                events.picture(step, f"samples/{name}", path.read_bytes(), *frames.shape[1:3])

    def say(self, text: str) -> None:
        """A line on stderr, above the bar."""
        if self._files is not None:
            tqdm.write(text, file=sys.stderr)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all steps (not after an error), write what is left and close the files. Raises what `step` does."""
        try:
            if kind is None:
                self.wait()
        finally:
            try:
                self._write_entry()
            finally:
                self._close()

    def _close(self) -> None:
        self._bar.close()
        for file in self._files or ():
            with suppress(OSError):  # all that counts was flushed
                file.close()

    def _finish(self, step: _Step) -> None:
        """Wait for a step and count its metrics in; write an entry where one is due."""
        metrics = jax.device_get(dict(step.metrics))
        loss = float(metrics["loss"])
        self._means.add(metrics)
        self._done = step.number
        if self._since is None:  # the first step may have been compiled in its time
            self._since = time.perf_counter()
            self._bar.unpause()
        else:
            self._timed += 1
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update()
        if self._done % self._every == 0:
            self._write_entry()
        self._not_finite = [] if math.isfinite(loss) else [*self._not_finite, step]
        if len(self._not_finite) == PATIENCE:
            raise _not_finite_error(self._not_finite)

    def _write_entry(self) -> None:
        means = self._means.take()
        if not means or self._since is None:
            return
        now = time.perf_counter()
        speed = self._speed(now - self._since) if self._timed else {}
        self._since, self._timed = now, 0
        self._write(self._done, means | speed | {"memory_gb": peak_memory() / 1e9})
        if self._bar.disable:
            self.say(f"step {self._done}/{self._steps}: loss {means['loss']:.4f}{self._in_words(speed)}")

    def _speed(self, seconds: float) -> dict[str, float]:
        rate = self._timed / seconds
        values = {"speed/steps_per_second": rate, "speed/clips_per_second": rate * self._clips}
        if self._flops is not None:
            values["speed/tflops_per_device"] = rate * self._flops / 1e12
            if self._peak is not None:
                values["speed/share_of_peak"] = rate * self._flops / self._peak
        return values

    def _in_words(self, speed: Mapping[str, float]) -> str:
        if not speed:
            return ""
        rate = speed["speed/steps_per_second"]
        parts = [f"{rate:.3g} steps/s", f"{speed['speed/clips_per_second']:.3g} clips/s"]
        if "speed/share_of_peak" in speed:
            parts.append(f"{speed['speed/share_of_peak']:.0%} of peak")
        parts.append(f"{tqdm.format_interval((self._steps - self._done) / rate)} left")
        return "".join(f", {part}" for part in parts)

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        with self._writing():
            for file in self._files or ():
                file.write(step, values)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self._folder}: the log could not be written: {error.strerror or error}") from error


def _not_finite_error(steps: Sequence[_Step]) -> NotFiniteError:
    numbers = ", ".join(str(step.number) for step in steps)
    ids = ", ".join(dict.fromkeys(identifier for step in steps for identifier in step.ids))
    return NotFiniteError(
        f"the loss was not finite in the steps {numbers}: lower the learning rate, or look at their clips: {ids}"
    )
