"""What the commands share: flags, errors in one line, and the record beside each output."""

import argparse
import dataclasses
import hashlib
import inspect
import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from magdiff_jax.config import ConfigError
from magdiff_jax.diffusion.settings import Settings
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import write_image
from magdiff_jax.media.video import check_output, write_video
from magdiff_jax.replacing import replacing

# Flags that say where a result goes, not what it is.
_NOT_RECORDED = {"out", "overwrite", "rerun", "count", "sheet"}
_PACKAGES = ("magdiff_jax", "jax", "jaxlib", "flax", "numpy")


def run(main: Callable[[list[str]], None]) -> None:
    """Run a command: a user's mistake becomes one line and exit status 2, a warning one line."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        main(sys.argv[1:])
    except (UserError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def sampling_parser(description: str) -> argparse.ArgumentParser:
    """The flags that `generate` and `edit` have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="MagDiff folder")
    parser.add_argument("--prompt", required=True, help="what the video shows")
    parser.add_argument(
        "--out", type=Path, required=True, help="video to write: .mp4, .gif, or without suffix a folder of PNGs"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there")
    parser.add_argument("--sheet", action="store_true", help="add a contact sheet, NAME.sheet.png")
    parser.add_argument("--negative-prompt", default="", help="what the video should not show")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--height", type=int, metavar="PIXELS", help="default: the model's")
    parser.add_argument("--width", type=int, metavar="PIXELS", help="default: the model's")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the computation (default: float32)"
    )
    parser.add_argument(
        "--rerun", type=Path, metavar="FILE.json", help="take all flags that are not given from an output's record"
    )
    group = parser.add_argument_group("sampling")
    texts = _attribute_texts(Settings)
    for field in dataclasses.fields(Settings):
        flag = "--guidance" if field.name == "guidance_scale" else f"--{field.name.replace('_', '-')}"
        kind = type(field.default)
        help = f"{texts[field.name]} (default: {field.default})"
        group.add_argument(flag, dest=field.name, type=kind, default=field.default, metavar=kind.__name__, help=help)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse a command's flags, those not given from the record named by --rerun.

    Returns:
        The flags, and the record (empty without --rerun), whose inputs must be what they were.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--rerun", type=Path)
    path = first.parse_known_args(arguments)[0].rerun
    record: dict[str, Any] = {}
    if path is not None:
        record = _read_record(path, parser)
        parser.set_defaults(**record["arguments"])
        for action in parser._actions:
            action.required = action.required and action.dest not in record["arguments"]
    return parser.parse_args(arguments), record


def settings_of(args: argparse.Namespace) -> Settings:
    """The sampling settings among the flags. Raises ConfigError for an impossible one."""
    return Settings(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Settings)})


def outputs_of(out: Path, sheet: bool) -> tuple[Path, Path, Path | None]:
    """The video, its record and its contact sheet."""
    stem = out.with_suffix("") if out.suffix else out
    return out, stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".sheet.png") if sheet else None


def check_outputs(out: Path, sheet: bool, overwrite: bool) -> None:
    """Raises UserError where an output cannot be written, or is there and not to be replaced."""
    check_output(out, overwrite)
    for path in outputs_of(out, sheet)[1:]:
        if path is not None and path.exists() and not overwrite:
            raise UserError(f"{path} exists: choose another --out or add --overwrite")


def write_outputs(
    out: Path,
    frames: np.ndarray,
    fps: float,
    record: Mapping[str, Any],
    sheet: np.ndarray | None,
) -> None:
    """Write the video, its record and its contact sheet, and print their paths."""
    video_path, record_path, sheet_path = outputs_of(out, sheet is not None)
    write_video(video_path, frames, fps)
    with replacing(record_path) as new:
        new.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if sheet is not None and sheet_path is not None:
        write_image(sheet_path, sheet)
    print(*(path for path in (video_path, record_path, sheet_path) if path is not None), sep="\n")


def make_record(
    command: str, args: argparse.Namespace, inputs: Mapping[str, Path | None], fingerprint: str
) -> dict[str, Any]:
    """All that a result follows from: flags, inputs, weights and versions."""
    import jax

    arguments = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in _NOT_RECORDED
    }
    return {
        "command": command,
        "arguments": arguments,
        "inputs": {name: digest(path) for name, path in inputs.items() if path is not None},
        "model_fingerprint": fingerprint,
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "device": jax.devices()[0].device_kind,
    }


def check_same(record: Mapping[str, Any], inputs: Mapping[str, Path | None]) -> None:
    """Raises UserError where a rerun's input is not the file that it was."""
    for name, path in inputs.items():
        recorded = record.get("inputs", {}).get(name)
        if path is not None and recorded is not None and digest(path) != recorded:
            raise UserError(f"{path} has changed since the recorded run: --rerun needs the same --{name}")


def check_same_model(record: Mapping[str, Any], fingerprint: str) -> None:
    """Raises UserError where a rerun's model has other weights than it had."""
    if record and record.get("model_fingerprint") != fingerprint:
        raise UserError("the model has other weights than in the recorded run: --rerun needs the same --model")


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files with their names. Raises UserError where there is none."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    whole = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as stream:
                whole.update(f"{file.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}; check the path") from None
    return whole.hexdigest()


def _read_record(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(record["arguments"]) - {action.dest for action in parser._actions}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the record of a run ({error})") from None
    if unknown:
        raise UserError(f"{path}: the record of another command or version; unknown: {', '.join(sorted(unknown))}")
    return record


def _attribute_texts(record: type) -> dict[str, str]:
    """What a docstring's `Attributes:` section says of each attribute."""
    section = (inspect.getdoc(record) or "").split("Attributes:\n")[-1]
    entries = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).rstrip(".") for name, text in entries}
