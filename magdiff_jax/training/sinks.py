"""Where a run's numbers go: a file of JSON lines, and TensorBoard's event files.

Both write at once, so that a killed run loses nothing and a full disk is known, and both go on from a step: what an
earlier run wrote beyond it does not count.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_jax.replacing import replacing


class MetricsFile:
    """One JSON object a line: "step", "time" (seconds since 1970), and numbers by name, null where not finite."""

    def __init__(self, path: Path, start: int):
        """
        Args:
            path: added to; lines of steps beyond `start`, and what is no line of this kind, are dropped first.
            start: steps done so far.
        """
        if path.exists():
            with path.open("rb") as file, replacing(path) as new:
                new.write_bytes(b"".join(line for line in file if _is_entry(line, start)))
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        print(json.dumps({"step": step, "time": round(time.time(), 3), **numbers}), file=self._file, flush=True)

    def close(self) -> None:
        self._file.close()


def _is_entry(line: bytes, last: int) -> bool:
    """Whether this is a whole line of a step up to `last`."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return line.endswith(b"\n") and isinstance(step, int) and step <= last


class EventFile:
    """Scalars and pictures for TensorBoard."""

    def __init__(self, folder: Path, start: int):
        """
        Args:
            folder: gets one more file; TensorBoard hides what others in it hold of steps beyond `start`.
            start: steps done so far.
        """
        with _hidden("torch"):
            # Not tensorboardX's SummaryWriter: its thread dies of a full disk, and whoever writes then waits forever.
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # Its own names tell seconds apart, and what is there already is overwritten.
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._add(start + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._summary(step, [{"tag": name, "simple_value": value} for name, value in values.items()])

    def picture(self, step: int, name: str, encoded: bytes, height: int, width: int) -> None:
        """A PNG, JPEG or GIF file; TensorBoard plays animations."""
        image = {"height": height, "width": width, "colorspace": 3, "encoded_image_string": encoded}
        self._summary(step, [{"tag": name, "image": image}])

    def close(self) -> None:
        self._writer.close()

    def _summary(self, step: int, values: list[dict[str, Any]]) -> None:
        self._add(step, summary={"value": values})

    def _add(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(step=step, wall_time=time.time(), **content))
        self._writer.flush()


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Imports within find that a package is not there: tensorboardX takes seconds to read PyTorch, unused here."""
    before = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before
