"""What the commands share: flags, errors in one line, and the record beside each output."""

import argparse
import dataclasses
import hashlib
import inspect
import io
import logging
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from magdiff_jax import __version__, runtime
from magdiff_jax.config import COMPUTE_DTYPES, ConfigError
from magdiff_jax.diffusion.settings import Settings, check_seeds
from magdiff_jax.errors import Stopped, UserError, refusal, refusals_told
from magdiff_jax.media.writing import check_frame_size, check_output, names_folder
from magdiff_jax.replacing import check_writable, replacing
from magdiff_jax.shipped import MINIATURE
from magdiff_jax.text import check_whole, parse_json, read_text, to_json

# Flags that say where a result goes, not what it is.
_NOT_RECORDED = {"out", "overwrite", "rerun", "count", "sheet", "requests"}
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "pillow", "av")
# Flags that stand beside --requests only.
MANY = ("batch", "fsdp", "coordinator", "processes", "process")
# A flag's name in a record or a line of requests: with an = in it, its end would be taken for a value.
_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
# Settings of long videos only.
_LONG = {"num_clips", "overlap_frames", "noise_recycle", "denoise_guidance"}


def run(main: Callable[[list[str]], None]) -> None:
    """Run a command: a user's mistake becomes one line and exit status 2, what stopped it one and 1, a warning one."""
    # Orbax logs its inner workings as warnings, and on a full disk each array that cannot be written, by asyncio too:
    # hundreds of lines before the one that a command says. transformers logs the lack of PyTorch, which is not needed.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be in any encoding
    try:
        with refusals_told():
            main(sys.argv[1:])
    except (UserError, ConfigError, Stopped) as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        sys.exit(1 if isinstance(error, Stopped) else 2)
    except KeyboardInterrupt:
        sys.exit(130)


def call(module: str, *flags: object) -> None:
    """Show and run a command of this project as its users do; ends this process where that fails."""
    words = ["-m", module, *map(str, flags)]
    print("\n$ python", shlex.join(words), flush=True)
    result = subprocess.run([sys.executable, *words], check=False)
    if result.returncode:
        sys.exit(result.returncode)


class Parser(argparse.ArgumentParser):
    """Answers a mistake in one line, like the rest of a command, without the list of all flags.

    A path may begin with ~, which shells leave as it is after `--flag=`.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register("type", Path, lambda text: Path(os.path.expanduser(text)))

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help shows all flags)")


def add_process_flags(parser: Parser) -> None:
    """The flags of commands that several processes run together."""
    group = parser.add_argument_group("several processes")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of the first process")
    group.add_argument("--processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process", type=int, metavar="I", help="which one this is, from 0")


def add_model_flag(parser: Parser) -> None:
    """The flag of commands that use a model."""
    parser.add_argument(
        "--model",
        type=Path,
        default=MINIATURE,
        metavar="DIR",
        help="MagDiff folder (default: the miniature that comes along, 8 frames of 32 x 32 pixels)",
    )


def sampling_parser(command: str, description: str, many: bool, long_videos: bool = False) -> Parser:
    """The flags that `generate` and `edit` have in common, and those of long videos.

    `many`: for --requests, where a prompt is not required, as each request has its own.
    """
    parser = Parser(
        prog=f"python -m magdiff_jax.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model_flag(parser)
    parser.add_argument("--prompt", required=not many, metavar="TEXT", help="what the video shows")
    parser.add_argument(
        "--out",
        # A path of Python's would not tell NAME/ from NAME.
        type=Path if many else os.path.expanduser,
        required=True,
        metavar="FILE|DIR",
        help="video to write: .mp4 (H.264), .gif, or without a suffix, or with / at the end, a folder of PNGs; "
        "NAME.json beside it records all settings",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there")
    parser.add_argument(
        "--enlarge", type=int, default=1, metavar="N", help="show each pixel as N x N of them (default: 1)"
    )
    parser.add_argument("--sheet", action="store_true", help="add a contact sheet, NAME.sheet.png")
    parser.add_argument("--negative-prompt", default="", metavar="TEXT", help="what the video should not show")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--height", type=int, metavar="PIXELS", help="default: the model's")
    parser.add_argument("--width", type=int, metavar="PIXELS", help="default: the model's")
    parser.add_argument(
        "--dtype",
        choices=COMPUTE_DTYPES,
        default="float32",
        help="of the computation (default: float32)",
    )
    parser.add_argument(
        "--rerun",
        type=Path,
        metavar="FILE.json",
        help="take all flags that are not given here from an output's record; the files it names must be unchanged",
    )
    group = parser.add_argument_group("sampling")
    texts = _attribute_texts(Settings)
    for field in dataclasses.fields(Settings):
        if long_videos or field.name not in _LONG:
            kind = type(field.default)
            help = f"{texts[field.name]} (default: {field.default})"
            group.add_argument(
                _flag(_name(field)), type=kind, default=field.default, metavar=kind.__name__.upper(), help=help
            )
    group = parser.add_argument_group("many videos")
    group.add_argument(
        "--requests",
        type=Path,
        metavar="FILE.jsonl",
        help='make one for each line, {"id": NAME, "prompt": TEXT, "seed": 7, …}, into the folder --out, and go on '
        "where an earlier run stopped; paths start at the file's folder; flags given here hold where a line has none",
    )
    group.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="requests that are worked on at once in each process (default: one a device)",
    )
    group.add_argument(
        "--fsdp", type=int, metavar="N", help="share the parameters out among so many devices (default: 1)"
    )
    add_process_flags(parser)
    return parser


def add_mask_flags(parser: Parser) -> None:
    """The flags that find a subject, and that move and soften the edge of its mask; see `matte` and `media.edges`."""
    parser.add_argument(
        "--matte",
        metavar="DIR|NAME",
        help="let a SAM 2 model find the subject in --subject-box, or in all but the border; a folder, or a name on "
        "the model hub: facebook/sam2.1-hiera-large",
    )
    parser.add_argument(
        "--mask-grow",
        type=int,
        default=0,
        metavar="PIXELS",
        help="move the mask's edge outwards, inwards where negative: -2 takes a rim of the old background away",
    )
    parser.add_argument(
        "--mask-feather", type=int, default=0, metavar="PIXELS", help="let the subject fade to black at its edge"
    )


def asks_for_many(arguments: list[str]) -> bool:
    """Whether --requests is among a command's flags."""
    return any(argument.split("=")[0] == "--requests" for argument in arguments)


def parse(parser: Parser, arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse a command's flags, after those in the record named by --rerun.

    Returns:
        The flags and the record (empty without --rerun), see `check_same`.
    """
    first = Parser(add_help=False, allow_abbrev=False)
    first.add_argument("--rerun", type=Path)
    path = first.parse_known_args(arguments)[0].rerun
    record = {} if path is None else _read_record(path, parser.prog)
    args = parser.parse_args([*as_flags(record.get("arguments", {})), *arguments])
    if lonely := [name for name in MANY if getattr(args, name) is not None]:
        raise UserError(f"--{lonely[0]} belongs to --requests")
    return args, record


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """Flags as they are typed, from their values by name; None and False: left out. 7.0 is 7, as JSON has it.

    Raises:
        UserError: one cannot be typed, or a name would be typed as another flag or value.
    """
    for name, value in values.items():
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r} is no flag's name: those have small letters, digits and _")
        if not isinstance(value, str | int | float | None):
            raise UserError(f"{name} = {value!r}: must be a text or a number, or true or false for a switch")
        if "\0" in f"{value}":
            raise UserError(f"{name!r} = {value!r}: must not hold the character \\0")
    whole = {name: int(value) for name, value in values.items() if isinstance(value, float) and value.is_integer()}
    return [
        _flag(name) if value is True else f"{_flag(name)}={value}"
        for name, value in {**values, **whole}.items()
        if value is not None and value is not False
    ]


def settings_of(args: argparse.Namespace) -> Settings:
    """The sampling settings among the flags. Raises ConfigError for an impossible one."""
    values: dict[str, Any] = {
        field.name: getattr(args, _name(field), field.default) for field in dataclasses.fields(Settings)
    }
    return Settings(**values)


def outputs_of(out: str | Path, sheet: bool) -> tuple[Path, Path, Path | None]:
    """The video, its record and its contact sheet."""
    path = Path(out)
    stem = path if names_folder(out) else path.with_suffix("")
    return path, stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".sheet.png") if sheet else None


def numbered(out: str, count: int) -> list[str]:
    """`out` itself, or NAME-1, NAME-2, … where there are several."""
    path = Path(out)
    if not path.name:
        raise UserError(f'--out "{out}": name a file or a new folder')
    if count == 1:
        return [out]
    stem, end = (path, "/") if names_folder(out) else (path.with_suffix(""), path.suffix)
    return [f"{stem}-{i + 1}{end}" for i in range(count)]


def check_texts(args: argparse.Namespace) -> None:
    """Raises UserError where a text that goes to the model has half a character."""
    for name in ("prompt", "negative_prompt"):
        check_whole(getattr(args, name), _flag(name))


def check_numbers(args: argparse.Namespace, count: int = 1) -> None:
    """Raises UserError where a number below one makes no sense, ConfigError where a seed is out of range."""
    for name, value in (
        ("count", count),
        ("frames", args.frames),
        ("height", args.height),
        ("width", args.width),
        ("enlarge", args.enlarge),
    ):
        if isinstance(value, int) and value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    check_seeds(args.seed, count)


def check_request(args: argparse.Namespace, count: int = 1) -> None:
    """Check what can be known from the flags alone.

    Raises:
        UserError: as `check_texts` and `check_numbers`, or an output cannot be written, or is there and not to be
            replaced.
        ConfigError: a seed out of range.
    """
    check_texts(args)
    check_numbers(args, count)
    for out in numbered(args.out, count):
        check_output(out, args.overwrite)
        for path in outputs_of(out, args.sheet)[1:]:
            if path is not None and path.is_dir():
                raise UserError(f"{path} is a folder: choose another --out")
            if path is not None and path.exists() and not args.overwrite:
                raise UserError(f"{path} exists: choose another --out or add --overwrite")
    for path in outputs_of(out, args.sheet):  # of several, the last one's names are the longest
        if path is not None:
            check_writable(path)


def check_size(args: argparse.Namespace, height: int, width: int) -> None:
    """Raises UserError where frames of this size, in pixels, are too large for --out once they are enlarged."""
    check_frame_size(args.out, height * args.enlarge, width * args.enlarge)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    with replacing(path) as new:
        new.write_text(to_json(record, indent=2) + "\n", encoding="utf-8")


def options_of(runs: Sequence[argparse.Namespace]) -> dict[str, Any]:
    """What `MagDiff.generate` and `edit` take beside prompts and subjects, for runs that differ in no setting."""
    return {
        "negative_prompt": [args.negative_prompt for args in runs],
        "seed": [args.seed for args in runs],
        "height": runs[0].height,
        "width": runs[0].width,
        **settings_of(runs[0]).to_dict(),
    }


def arguments_of(args: argparse.Namespace) -> dict[str, Any]:
    """The flags that a result follows from, as a record has them."""
    return {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in (*_NOT_RECORDED, *MANY)
    }


def make_record(parser: Parser, args: argparse.Namespace, inputs: Mapping[str, str]) -> dict[str, Any]:
    """All that a result follows from: flags, SHA-256 of the inputs and versions."""
    return {
        "command": parser.prog,
        "arguments": arguments_of(args),
        "inputs": dict(inputs),
        "versions": {"magdiff_jax": __version__, **{name: metadata.version(name) for name in _PACKAGES}},
        "device": runtime.devices()[0].device_kind,
    }


def check_same(record: Mapping[str, Any], args: argparse.Namespace, inputs: Mapping[str, str]) -> None:
    """Raises UserError where a file that a rerun takes from its record is not what it was."""
    for name, value in inputs.items():
        path = str(getattr(args, name).absolute())
        if record and record["arguments"].get(name) == path and record["inputs"].get(name) != value:
            raise UserError(f"{path} has changed since the recorded run: bring it back, or run without --rerun")


def digests(args: argparse.Namespace, *names: str) -> dict[str, str]:
    """SHA-256 of those files, or folders of files, that these flags name."""
    return {name: _digest(getattr(args, name)) for name in names if getattr(args, name) is not None}


def _digest(path: Path) -> str:
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.is_file())
            lines = "".join(f"{_digest(file)}  {file.name}\n" for file in files)
            return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {refusal(error)}") from None


def _read_record(path: Path, command: str) -> dict[str, Any]:
    text = read_text(path)
    try:
        record = parse_json(text, str(path))
    except UserError:
        record = None
    parts = {"command": str, "arguments": dict, "inputs": dict}
    if not isinstance(record, dict) or not all(isinstance(record.get(part), kind) for part, kind in parts.items()):
        raise UserError(f"--rerun {path} is not the JSON record of a run")
    if record["command"] != command:
        raise UserError(f"--rerun {path} is the record of another command: {record['command']}")
    if strange := sorted({"help", *_NOT_RECORDED, *MANY} & set(record["arguments"])):
        raise UserError(f"--rerun {path} has {strange[0]}, which no record has: take it out")
    return record


def _name(field: dataclasses.Field) -> str:
    """What a setting is called as a flag."""
    return "guidance" if field.name == "guidance_scale" else field.name


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _attribute_texts(record: type) -> dict[str, str]:
    """What a docstring's `Attributes:` section says of each attribute."""
    section = (inspect.getdoc(record) or "").split("Attributes:\n")[-1]
    entries = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).rstrip(".") for name, text in entries}
