"""Many runs of `generate` or `edit` from one file, over all devices and processes.

A line of the file is a JSON object: `id`, which names the outputs, and the command's flags without their dashes,
{"id": "cat-1", "prompt": "a cat on the beach", "subject": "cat.jpg", "seed": 7}. Each process takes every so manieth
line and shares batches of them out among its own devices. What is complete is left as it is, so that the same command
goes on where an earlier run stopped. Each output is one of a run of its own, but for rounding.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from magdiff_jax import commands, runtime
from magdiff_jax.config import ConfigError
from magdiff_jax.errors import UserError, refusals_told
from magdiff_jax.replacing import check_fillable
from magdiff_jax.results import Source, write_clip
from magdiff_jax.text import parse_json, read_lines, read_text, to_json

if TYPE_CHECKING:
    from magdiff_jax.conditioning import Shape

# What a request is called: a plain file name on every system.
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
# Flags of the whole run, which no request has of its own.
_SHARED = {"model", "dtype", "out", "overwrite", "sheet", "rerun", "count", "requests", *commands.MANY}


class Task(NamedTuple):
    """What is a command's own.

    Attributes:
        make_parser: of its flags; the argument: for --requests, where those of each video are not required.
        files: flags that name what it reads, the first one the subject.
        check: raises UserError for flags that are wrong in themselves.
        shape_of: flags and the model's description → the size of clips. Raises UserError, as `pipeline.plan` does.
        read: flags and that size → what a video is made from. Raises UserError.
        make: model, flags of some runs and their sources → for each run a video, as frames one after the other. What
            has `footage` comes alone.
    """

    make_parser: Callable[[bool], commands.Parser]
    files: tuple[str, ...]
    check: Callable[[argparse.Namespace], None]
    shape_of: Callable[[argparse.Namespace, Any], "Shape"]
    read: Callable[[argparse.Namespace, Any], Source]
    make: Callable[..., Sequence[Iterable[np.ndarray]]]


class Request(NamedTuple):
    """One line of the file.

    Attributes:
        place: file and line, for errors.
        args: the flags of a run of its own.
    """

    id: str
    place: str
    args: argparse.Namespace


Work = tuple[Request, Source, dict[str, str]]


def read_requests(path: Path, task: Task, arguments: list[str], out: Path) -> list[Request]:
    """Read and check all lines of a file.

    Args:
        path: of the file; its folder is where relative paths in it start.
        task: whose requests they are.
        arguments: flags that hold where a line has none.
        out: folder of the outputs.

    Raises:
        UserError: naming the first line that is wrong.
    """
    parser = task.make_parser(False)
    requests: list[Request] = []
    lines_of: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        with _named(place):
            values = _parse(line)
            # Some systems do not tell capitals from small letters.
            key = values["id"].lower()
            if key in lines_of:
                raise UserError(f"id {values['id']!r} stands in line {lines_of[key]} already; each needs its own")
            lines_of[key] = number
            requests.append(Request(values["id"], place, _flags(parser, arguments, values, path.parent, out)))
            commands.settings_of(requests[-1].args)
            commands.check_numbers(requests[-1].args)
            task.check(requests[-1].args)
    if not requests:
        raise UserError(f"--requests {path}: holds no requests")
    return requests


def _parse(line: str) -> dict[str, Any]:
    try:
        values = parse_json(line, "this line")
    except UserError:
        raise UserError('not JSON; write one object a line, {"id": "cat-1", "prompt": …}') from None
    if not isinstance(values, dict):
        raise UserError('no JSON object; write {"id": "cat-1", "prompt": …}')
    name = values.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise UserError(f"id = {name!r}: must be up to 100 letters, digits, dots, _ and -, the first one no dot")
    return values


def _flags(
    parser: commands.Parser, arguments: list[str], values: dict[str, Any], folder: Path, out: Path
) -> argparse.Namespace:
    """The flags of one request."""
    own = {name: value for name, value in values.items() if name != "id"}
    for name, value in own.items():
        is_switch = isinstance(parser.get_default(name), bool)
        if isinstance(value, bool) != is_switch:
            raise UserError(f"{name} = {value!r}: must be {'true or false' if is_switch else 'a text or a number'}")
        if name in _SHARED:
            raise UserError(f"{name} is the same for all requests; give it as the flag --{name}")
    target = f"--out={out / values['id']}.mp4"
    args = parser.parse_args([*arguments, *commands.as_flags(own), target])
    for name in own:
        if name.replace("-", "_") not in vars(args):  # where it is null, the parser has not seen it
            raise UserError(f"{name} is no flag of this command: mend the name or take it out")
        if isinstance(path := getattr(args, name, None), Path):
            setattr(args, name, folder / path)
    return args


def run(task: Task, arguments: list[str]) -> None:
    """A command with --requests.

    Raises:
        UserError: a mistake in the flags or the file, before anything is made; at the end, where requests failed.
        ConfigError: devices that do not fit --batch and --fsdp.
    """
    parser = task.make_parser(True)
    shared = parser.parse_args(arguments)
    for name in ("batch", "fsdp"):
        if (number := getattr(shared, name)) is not None and number < 1:
            raise UserError(f"--{name} {number}: must be at least 1")
    if shared.rerun is not None or getattr(shared, "count", 1) != 1:
        raise UserError("--requests goes without --rerun and --count: each request is one run")
    requests = read_requests(shared.requests, task, arguments, shared.out)

    runtime.prepare()
    import jax

    from magdiff_jax.pipeline import MagDiff
    from magdiff_jax.sharding import distributed
    from magdiff_jax.sharding.mesh import MeshConfig, batch_shards, make_mesh
    from magdiff_jax.weights.directory import read_description

    # ---------------------------------------------------------------- all mistakes show here, in every process
    description = read_description(shared.model)
    groups: dict[Any, list[Request]] = {}
    finished = set()
    for request in requests:
        with _named(request.place):
            settings, shape = commands.settings_of(request.args), task.shape_of(request.args, description)
            commands.check_size(request.args, shape.height, shape.width)
            groups.setdefault((shape, settings), []).append(request)
            if _is_finished(request, task, parser.prog, description.fingerprint):
                finished.add(request.id)
    try:
        shared.out.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {shared.out}: {error.strerror}; name a new folder, or one of an earlier run") from None
    check_fillable(shared.out)

    # ---------------------------------------------------------------- this process's share
    for old in (shared.out / "failed.jsonl", *shared.out.glob("failed-[0-9]*.jsonl")):
        old.unlink(missing_ok=True)
    distributed.start(shared.coordinator, shared.processes, shared.process)
    runtime.devices()
    process, processes = jax.process_index(), jax.process_count()
    own = {request.id for request in requests[process::processes]}
    mesh = make_mesh(MeshConfig(data=-1, fsdp=shared.fsdp or 1), jax.local_devices())
    size = shared.batch or batch_shards(mesh)
    if size % batch_shards(mesh):
        raise UserError(f"--batch {size}: must be a multiple of {batch_shards(mesh)}, the devices that share it")
    failures = Failures(shared.out / ("failed.jsonl" if processes == 1 else f"failed-{process}.jsonl"))

    # ---------------------------------------------------------------- work
    # On one device a request alone in its batch goes through the very programs of a run of its own.
    several = mesh if mesh.size > 1 else None
    pipe = MagDiff.load(shared.model, shared.dtype, several) if own - finished else None
    with tqdm(total=len(own), initial=len(own & finished), desc="requests", unit="video", disable=None) as bar:
        for (shape, _), group in groups.items():
            waiting = [request for request in group if request.id in own - finished]
            for batch in _batches(_read(waiting, task, shape, failures, bar), size):
                # The last batch is filled up, so that its program is that of the others.
                full = batch + batch[-1:] * (size - len(batch))
                runs, sources = [request.args for request, *_ in full], [source for _, source, _ in full]
                videos = task.make(pipe, runs, sources, progress=False)
                for (request, source, inputs), video in zip(batch, videos, strict=False):
                    inputs["model"] = description.fingerprint
                    try:
                        _write(request, source, video, commands.make_record(parser, request.args, inputs))
                    except UserError as error:
                        # Of a long video most frames are read only now: a damaged one must not end the others.
                        if source.footage is None:
                            raise
                        commands.outputs_of(request.args.out, sheet=False)[1].unlink(missing_ok=True)
                        failures.add(request, error)
                    bar.update()
    distributed.wait_for_all("requests")
    done = len(own) - len(own & finished) - failures.count
    print(f"{shared.out}: {done} made, {len(own & finished)} were there")
    if failures.count:
        raise UserError(f"{failures.count} of {len(own)} requests failed; see {failures.path}")


class Failures:
    """A file with a line for each request that failed, {"id": …, "error": …}; there is none without."""

    def __init__(self, path: Path):
        self.path = path
        self.count = 0

    def add(self, request: Request, error: UserError) -> None:
        """Tell of a failure."""
        self.count += 1
        tqdm.write(f"failed: {request.id}: {error}", file=sys.stderr)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(to_json({"id": request.id, "error": str(error)}) + "\n")


def _batches(readable: Iterable[Work], size: int) -> Iterator[list[Work]]:
    """So many at a time; what is edited in windows, which devices share out, alone."""
    batch: list[Work] = []
    for work in readable:
        if work[1].footage is not None:
            yield [work]
            continue
        batch.append(work)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _read(requests: Sequence[Request], task: Task, shape: "Shape", failures: Failures, bar: tqdm) -> Iterator[Work]:
    """What can be read, one after the other, with its files' SHA-256."""
    for request in requests:
        try:
            with refusals_told():
                commands.check_texts(request.args)
                source, inputs = task.read(request.args, shape), commands.digests(request.args, *task.files)
        except UserError as error:
            failures.add(request, error)
            bar.update()
        else:
            yield request, source, inputs


def _is_finished(request: Request, task: Task, command: str, fingerprint: str) -> bool:
    """Whether a request's outputs are there and complete; see `_write`.

    Raises:
        UserError: something else has the place of one, and is not to be replaced.
    """
    video, record, sheet = commands.outputs_of(request.args.out, request.args.sheet)
    outputs = [path for path in (video, record, sheet) if path is not None]
    there = [path for path in outputs if path.exists()]
    if not there:
        return False
    try:
        inputs = commands.digests(request.args, *task.files)
    except UserError:
        return False  # reading it fails too, and is told then
    follows_from = {
        "command": command,
        "arguments": commands.arguments_of(request.args),
        "inputs": {**inputs, "model": fingerprint},
    }
    try:
        stored = parse_json(read_text(record), str(record))
        is_same = all(stored[name] == value for name, value in follows_from.items())
    except (UserError, LookupError, TypeError):
        is_same = False
    if not is_same and not request.args.overwrite:
        raise UserError(f"{there[0]} is of another request or model; choose another id or --out, or add --overwrite")
    return is_same and there == outputs


def _write(request: Request, source: Source, frames: Iterable[np.ndarray], record: dict[str, Any]) -> None:
    """The record comes first: a video without one is not ours, and a record without the other of a stopped run."""
    video_path, record_path, sheet_path = commands.outputs_of(request.args.out, request.args.sheet)
    for path in (video_path, sheet_path):
        if path is not None:
            path.unlink(missing_ok=True)
    commands.write_record(record_path, record)
    write_clip(request.args, source, frames)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Errors say where in the file they come from."""
    try:
        yield
    except (UserError, ConfigError) as error:
        raise UserError(f"{place}: {error}") from None
