"""What both commands do with flags, mistakes and records, before and after a model is at work."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from magdiff_jax import UserError, edit, generate
from magdiff_jax.config import ConfigError
from magdiff_jax.media.images import write_image

COMMANDS = {"generate": generate, "edit": edit}
SHOWN_WITHIN = 5.0  # seconds; 0.6 on an idle machine


@pytest.fixture
def subject(tmp_path: Path) -> Path:
    write_image(tmp_path / "cat.png", skimage.data.chelsea())
    return tmp_path / "cat.png"


def in_a_new_process(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.quick
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete_and_comes_at_once(command: str) -> None:
    start = time.monotonic()
    shown = in_a_new_process("-m", f"magdiff_jax.{command}", "--help")
    assert time.monotonic() - start < SHOWN_WITHIN
    assert shown.returncode == 0
    common = "--model --prompt --out --overwrite --sheet --negative-prompt --seed --height --width --dtype --rerun"
    own = {
        "generate": "--subject --mask --subject-box --frames --fps --count --num-clips --overlap-frames",
        "edit": "--video --masks --subject-box --frames --start --stride --fps",
    }
    many = "--requests --batch --fsdp --coordinator --processes --process"
    for flag in f"{common} {own[command]} --steps --guidance --eta --noise-correlation {many}".split():
        assert f"\n  {flag} " in shown.stdout
    assert ("--num-clips" in shown.stdout) == (command == "generate")
    assert f"python -m magdiff_jax.{command}" in shown.stdout


def test_importing_the_package_starts_nothing() -> None:
    program = "import sys, magdiff_jax, magdiff_jax.generate, magdiff_jax.edit; print('jax' in sys.modules)"
    assert in_a_new_process("-c", program).stdout == "False\n"


@pytest.mark.parametrize(
    ("command", "words", "complaint"),
    [
        ("generate", ["--subject", "cat.png", "--out", "a.mp4", "--model", "."], "required: --prompt"),
        (
            "edit",
            ["--model", "nowhere", "--prompt", "a", "--video", "a", "--masks", "a", "--out", "a.mp4"],
            "nowhere: no",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(command: str, words: list[str], complaint: str, tmp_path: Path) -> None:
    program = f"import os; os.chdir({str(tmp_path)!r}); from magdiff_jax import {command}, commands; "
    done = in_a_new_process("-c", f"{program}commands.run({command}.main)", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert complaint in done.stderr
    assert not list(tmp_path.iterdir())


BOTH: list[tuple[dict[str, Any], str]] = [
    ({"--step": 5}, "unrecognized arguments: --step=5"),
    ({"--steps": "many"}, "argument --steps: invalid int value: 'many'"),
    ({"--steps": 0}, "steps = 0"),
    ({"--steps": 2000}, "steps = 2000: must be at most 1000"),
    ({"--guidance": -1}, "guidance_scale = -1.0"),
    ({"--guidance": "nan"}, "guidance_scale = nan"),
    ({"--eta": 2}, "eta = 2.0: must be a number from 0 to 1"),
    ({"--seed": -1}, "seed = -1"),
    ({"--seed": 2**32}, "seed = 4294967296"),
    ({"--height": 0}, "--height 0: must be at least 1"),
    ({"--width": -8}, "--width -8: must be at least 1"),
    ({"--frames": 0}, "--frames 0: must be at least 1"),
    ({"--fps": 0}, "fps 0.0"),
    ({"--fps": "inf"}, "fps inf"),
    ({"--dtype": "int8"}, "argument --dtype: invalid choice: 'int8'"),
    ({"--out": "clip.avi"}, "clip.avi: a clip is written as .mp4"),
    ({"--out": "missing/clip.mp4"}, "missing is not a folder"),
    ({"--out": ""}, "name a file or a new folder"),
    ({"--subject-box": "1,2,3"}, 'box "1,2,3": give four whole numbers'),
    ({"--subject-box": "0,0,9999,9999"}, "does not lie within the frame"),
    ({"--rerun": "missing.json"}, "missing.json: No such file"),
    # Those that need the model's description, and nothing more of it.
    ({"--height": 15}, "height 15, width 16: must be multiples of 2"),
    ({"--model": "."}, "no MagDiff model"),
]


def run(command: str, flags: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command in a folder; a flag that is None is left out."""
    monkeypatch.chdir(folder)
    # Restored afterwards: a command sets it for its own process.
    monkeypatch.setenv("XLA_FLAGS", "")
    COMMANDS[command].main([f"{flag}={value}" for flag, value in flags.items() if value is not None])


@pytest.mark.parametrize(("change", "complaint"), BOTH, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("command", COMMANDS)
def test_impossible_flags_are_named_before_the_model_is_loaded(
    command: str,
    change: dict[str, Any],
    complaint: str,
    description_only: Path,
    subject: Path,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = {"generate": {"--subject": subject}, "edit": {"--video": clips / "carphone_pristine.mp4"}}[command]
    box = {"--subject-box": "40,20,100,100"}
    common = {"--model": description_only, "--prompt": "a cat", "--out": tmp_path / "out.mp4"}
    before = sorted(tmp_path.iterdir())
    with pytest.raises((UserError, ConfigError)) as caught:
        run(command, {**common, **own, **box, **change}, tmp_path, monkeypatch)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["out.mp4", "out.json", "out.sheet.png"])
def test_what_is_there_is_not_replaced(
    name: str, description_only: Path, subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"--model": description_only, "--prompt": "a", "--subject": subject, "--out": "out.mp4"}
    (tmp_path / name).write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{name} exists: choose another --out or add --overwrite"):
        generate.main([*(f"{flag}={value}" for flag, value in flags.items()), "--sheet"])
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name} is a folder"):
        generate.main([*(f"{flag}={value}" for flag, value in flags.items()), "--sheet", "--overwrite"])


RECORD = '{"command": "python -m magdiff_jax.generate", "inputs": {}, "arguments": {%s}}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no json", "is not the JSON record of a run"),
        ("[1]", "is not the JSON record of a run"),
        ('{"command": "python -m magdiff_jax.generate", "arguments": 3, "inputs": {}}', "is not the JSON record"),
        ('{"command": "python -m magdiff_jax.edit", "arguments": {}, "inputs": {}}', "of another command: python -m"),
        ('{"command": "python -m magdiff_jax.generate", "arguments": {"magic": 1}, "inputs": {}}', "--magic=1"),
        ("[" * 100_000, "is not the JSON record of a run"),
        (RECORD % ('"prompt": ' + "[" * 500 + "]" * 500), "is not the JSON record of a run"),
        (RECORD % ('"seed": ' + "1" * 5000), "is not the JSON record of a run"),
        (RECORD % '"prompt": ["a"]', r"prompt = \['a'\]: must be a text or a number"),
        (RECORD % '"model=x": "y"', "'model=x' is no flag's name"),
        *((RECORD % f'"{name}": true', f"has {name}, which no record has") for name in ("overwrite", "help", "batch")),
    ],
)
def test_a_rerun_needs_a_record(text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "record.json").write_text(text)
    flags = {"--rerun": "record.json", "--out": "b.mp4", "--model": ".", "--prompt": "a", "--subject": "a.png"}
    with pytest.raises(UserError, match=complaint) as caught:
        run("generate", flags, tmp_path, monkeypatch)
    assert "\n" not in str(caught.value)


def test_a_rerun_refuses_a_file_that_has_changed(
    description_only: Path, subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"model": str(description_only), "prompt": "a", "subject": str(subject)}
    record = {"command": "python -m magdiff_jax.generate", "arguments": arguments, "inputs": {"subject": "0" * 64}}
    (tmp_path / "record.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"cat\.png has changed since the recorded run"):
        run("generate", {"--rerun": "record.json", "--out": "b.mp4"}, tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def description_only(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model without its parameters: a command that gets as far as loading them fails."""
    folder = tmp_path_factory.mktemp("models") / "described"
    for config in (model_folder / "model.json", *model_folder.glob("*/config.json")):
        target = folder / config.relative_to(model_folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(config.read_bytes())
    return folder


def test_a_model_that_cannot_be_sampled_like_that(
    description_only: Path, subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = json.loads((description_only / "model.json").read_text())
    flags = {"--prompt": "a", "--subject": subject, "--out": tmp_path / "out.mp4", "--model": tmp_path / "other"}

    def written(**changes: Any) -> None:
        for name in values["fingerprints"]:
            (tmp_path / "other" / name).mkdir(parents=True, exist_ok=True)
            config = (description_only / name / "config.json").read_bytes()
            (tmp_path / "other" / name / "config.json").write_bytes(config)
        (tmp_path / "other" / "model.json").write_text(json.dumps(values | changes))

    pure_noise = {**values["schedule"], "zero_terminal_snr": True, "timestep_spacing": "trailing"}
    written(schedule=pure_noise)
    with pytest.raises(ConfigError, match="'epsilon' cannot start at a timestep of pure noise"):
        run("generate", flags, tmp_path, monkeypatch)
    written(schedule={**values["schedule"], "num_train_timesteps": 20})
    with pytest.raises(ConfigError, match="steps = 50: must be from 1 to 20"):
        run("generate", flags, tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "other" / "vision")
    values["fingerprints"].pop("vision")
    written()
    with pytest.raises(UserError, match="no vision tower for APA"):
        run("generate", flags, tmp_path, monkeypatch)


def test_paths_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    flags = ["--model=~/m", "--prompt=~", "--subject=~/cat.png", "--out=~/v1.5/"]
    args = generate.make_parser().parse_args(flags)
    assert (args.model, args.subject) == (Path("/home/me/m"), Path("/home/me/cat.png"))
    assert (args.out, args.prompt) == ("/home/me/v1.5/", "~")


def test_numbers_do_not_lose_digits_in_a_record() -> None:
    value = float(np.nextafter(7.5, 8))
    args = generate.make_parser().parse_args(
        ["--model=m", "--prompt=-a", "--subject=s", "--out=o", f"--guidance={value}", "--seed=4294967295"]
    )
    assert args.guidance == value
    assert args.prompt == "-a"
