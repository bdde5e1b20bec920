"""Whatever comes in from outside, text, names, JSON or flags: it is taken, or one line says what is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from magdiff_jax import UserError, commands, generate
from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.label import read_words
from magdiff_jax.data.report.statistics import read_rejected
from magdiff_jax.data.sources.captions import read_rows
from magdiff_jax.data.sources.layout import read_json, read_lines
from magdiff_jax.export import read_run
from magdiff_jax.media.images import read_image, write_image
from magdiff_jax.media.video import read_video
from magdiff_jax.media.writing import check_frame_size, check_output, write_video
from magdiff_jax.pipeline import plan
from magdiff_jax.replacing import check_fillable, check_writable
from magdiff_jax.requests import read_requests
from magdiff_jax.shipped import MINIATURE
from magdiff_jax.text import to_json
from magdiff_jax.training.config import TrainConfig
from magdiff_jax.weights.directory import read_description
from tests.media.test_video import full_disk

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
settings.register_profile("borders", max_examples=60, deadline=None, database=None, derandomize=True)
settings.load_profile("borders")

# With lone surrogates, line ends of all kinds and what does not print.
TEXTS = some.text(some.characters(exclude_categories=()), max_size=20)
VALUES = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(),
    TEXTS,
    some.sampled_from([-1, 0, 1, 2**32, 10**30, "../up", "a\0b", "\ud83d", "caf\udce9.png", "x" * 5000]),
)
TREES = some.recursive(
    VALUES, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(TEXTS, inner, max_size=3)
)
REQUEST = {"id": "a", "prompt": "a cat", "subject": "cat.png", "steps": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all examples of a test: each writes its own."""
    return tmp_path_factory.mktemp("borders")


def taken(read: Callable[..., Any], *given: Any) -> Any:
    """What `read` makes of something; None where it says what is wrong."""
    try:
        return read(*given)
    except (UserError, ConfigError):
        return None


def read_as_requests(path: Path) -> Any:
    return read_requests(path, generate.TASK, [], path.parent)


READERS: dict[str, Callable[[Path], Any]] = {
    "requests.jsonl": read_as_requests,
    "captions.jsonl": read_rows,
    "captions.csv": read_rows,
    "words.txt": read_words,
    "rejected.jsonl": lambda path: read_rejected(path, "train"),
    "list.txt": read_lines,
    "annotations.json": read_json,
    "config.json": lambda path: read_run(path.parent),
    "record.json": lambda path: commands.parse(generate.make_parser(), [f"--rerun={path}"]),
}


@given(some.binary(max_size=60) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_as_a_file_of_text(folder: Path, content: bytes) -> None:
    for name, read in READERS.items():
        (folder / name).write_bytes(content)
        taken(read, folder / name)


@given(some.sampled_from([*(action.dest for action in generate.make_parser()._actions), "id", ""]) | TEXTS, TREES)
def test_any_value_in_a_request(folder: Path, key: str, value: Any) -> None:
    (folder / "requests.jsonl").write_text(json.dumps({**REQUEST, key: value}) + "\n", encoding="utf-8")
    taken(read_as_requests, folder / "requests.jsonl")


@pytest.mark.parametrize("between", ["\u2028", "\u2029", "\x85"])
def test_only_line_ends_end_lines(folder: Path, between: str) -> None:
    prompt = f"a cat{between}on the beach"
    lines = json.dumps({**REQUEST, "prompt": prompt}, ensure_ascii=False) + "\r\n\r\n"
    (folder / "requests.jsonl").write_bytes(("\ufeff" + lines).encode())
    (request_read,) = read_as_requests(folder / "requests.jsonl")
    assert request_read.args.prompt == prompt
    (folder / "annotations.jsonl").write_text(lines, encoding="utf-8")
    assert json.loads(read_lines(folder / "annotations.jsonl")[0])["prompt"] == prompt


@given(TREES)
def test_json_that_is_written_is_utf8_and_read_as_the_same(value: Any) -> None:
    written = to_json([value]).encode("utf-8")
    # Halves that happen to stand side by side are read as the character that they make.
    expected = json.dumps([value]).encode()
    assert json.dumps(json.loads(written)) == json.dumps(json.loads(expected))


@given(some.binary(min_size=1, max_size=240).filter(lambda name: not {b"/"[0], 0} & set(name)))
def test_any_name_of_a_file(folder: Path, name: bytes) -> None:
    path = folder / os.fsdecode(name + b".png")
    write_image(path, PICTURE)
    np.testing.assert_array_equal(read_image(path).rgb, PICTURE)
    record = {"subject": str(path)}
    commands.write_record(path.with_suffix(".json"), record)
    assert json.loads(path.with_suffix(".json").read_bytes()) == record
    path.unlink()
    path.with_suffix(".json").unlink()


def damaged(values: Any, random: Any, replacement: Any) -> Any:
    """JSON values with one of them, or all, replaced."""
    if not isinstance(values, dict | list) or not values or random.random() < 0.2:
        return replacement
    changed = dict(values) if isinstance(values, dict) else list(values)
    place = random.choice(list(values) if isinstance(values, dict) else range(len(values)))
    changed[place] = damaged(values[place], random, replacement)
    return changed


@pytest.fixture(scope="module")
def description(folder: Path) -> Path:
    """The shipped model without its parameters."""
    for config in (MINIATURE / "model.json", *MINIATURE.glob("*/config.json")):
        target = folder / "model" / config.relative_to(MINIATURE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(config.read_bytes())
    return folder / "model"


@given(some.data())
def test_any_damage_to_a_model_s_description(description: Path, data: some.DataObject) -> None:
    def read() -> None:
        found = read_description(description)
        plan(found, commands.Settings(), None, None, None, with_subject=True)

    path = data.draw(some.sampled_from(sorted(description.rglob("*.json"))))
    whole = path.read_bytes()
    random = data.draw(some.randoms())
    path.write_text(json.dumps(damaged(json.loads(whole), random, data.draw(TREES))))
    taken(read)
    path.write_bytes(whole)
    read()


@given(some.randoms(), some.lists(TREES, max_size=3) | some.dictionaries(TEXTS, TREES, max_size=3))
def test_an_object_or_a_list_anywhere_in_a_run_s_config(config: dict[str, Any], random: Any, replacement: Any) -> None:
    key = random.choice(sorted(config))
    taken(TrainConfig.from_dict, {**config, key: damaged(config[key], random, replacement)})


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    from magdiff_jax.config_file import read_config

    return json.loads(json.dumps(read_config(Path(__file__).parents[1] / "configs/small.py", [])))


@pytest.fixture
def in_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs `generate` as from the command line; returns the exit status and the lines on stderr."""
    monkeypatch.setenv("XLA_FLAGS", "")

    def run(words: list[str]) -> tuple[Any, list[str]]:
        monkeypatch.setattr(sys, "argv", ["generate", *words])
        with pytest.raises(SystemExit) as caught:
            commands.run(generate.main)
        return caught.value.code, capsys.readouterr().err.splitlines(keepends=False)

    return run


FLAGS = [action.option_strings[-1] for action in generate.make_parser()._actions if action.dest != "help"]
WORDS = some.one_of(some.integers().map(str), some.floats().map(str), TEXTS, some.just("x" * 5000)).map(
    lambda word: os.fsdecode(word.replace("\0", "").encode("utf-8", "surrogatepass"))
)


def test_any_flags(description: Path, in_a_command: Any, folder: Path) -> None:
    write_image(folder / "cat.png", PICTURE)
    usual = {"--model": description, "--prompt": "a cat", "--subject": folder / "cat.png", "--out": folder / "a.mp4"}
    before = sorted(folder.iterdir())

    @given(some.dictionaries(some.sampled_from(FLAGS), WORDS, min_size=1, max_size=2))
    def check(flags: dict[str, str]) -> None:
        # Right or wrong: the model has no parameters.
        status, lines = in_a_command([f"{flag}={value}" for flag, value in {**usual, **flags}.items()])
        assert status == 2
        assert [line for line in lines if not line.startswith("warning: ")] == lines[-1:]
        assert lines[-1].startswith("error: ")
        assert sorted(folder.iterdir()) == before

    check()


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(tmp_path: Path, in_a_command: Any) -> None:
    for place in (tmp_path / "a.mp4", tmp_path / "new" / "run"):
        check_fillable(place)
    check_writable(tmp_path / "a.mp4")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is no folder: choose another place"):
        check_fillable(tmp_path / "file" / "run")
    for name in (f"{'x' * 251}.mp4", f"{'x' * 260}.mp4"):  # the record's name is longer by a letter
        status, (line,) = in_a_command(["--prompt=a", "--subject=none.png", f"--out={tmp_path / name}"])
        assert status == 2
        assert line.endswith(": File name too long; choose a shorter name")
    with full_disk(0), pytest.raises(UserError, match=r"a\.mp4 could not be written: File too large"):
        check_writable(tmp_path / "a.mp4")
    # Not even root makes files there.
    with pytest.raises(UserError, match=r"^/proc/run could not be written: "):
        check_fillable(Path("/proc/run"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        for use in (read_image, lambda path: read_video(path, 1), lambda path: check_output(path, False)):
            with pytest.raises(UserError, match=r"Permission denied; change the permissions"):
                use(closed / "in" / "a.mp4")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("name", "height", "width", "complaint"),
    [
        ("a.mp4", 2, 16386, r"frames of 16386x2 are too large: \.mp4 has at most 16384 pixels a side"),
        ("a.gif", 65536, 1, r"\.gif has at most 65535 pixels a side"),
        ("a", 10_000, 9_000, "at most 89 megapixels"),
    ],
)
def test_frames_that_a_format_cannot_hold(name: str, height: int, width: int, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        check_frame_size(tmp_path / name, height, width)


@pytest.mark.parametrize(("name", "size"), [("a.mp4", (2, 16384)), ("a.gif", (1, 65535))])
def test_the_largest_frames_of_a_format_are_written(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    frames = np.zeros((1, *size, 3), np.uint8)
    write_video(tmp_path / name, frames, 8.0)
    assert read_video(tmp_path / name, 1).frames.shape == frames.shape


def test_enlarged_frames_are_measured_before_the_sampling(description: Path, folder: Path, in_a_command: Any) -> None:
    write_image(folder / "cat.png", PICTURE)
    words = [f"--model={description}", "--prompt=a", f"--subject={folder / 'cat.png'}", f"--out={folder / 'a.mp4'}"]
    status, (line,) = in_a_command([*words, "--enlarge=513"])
    assert status == 2
    assert "frames of 16416x16416 are too large" in line


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("JAX_PLATFORMS", "cuda", "JAX finds no devices for JAX_PLATFORMS='cuda'"),
        ("JAX_PLATFORMS", "none", "JAX finds no devices for JAX_PLATFORMS='none'"),
        ("JAX_ENABLE_X64", "perhaps", "JAX does not start: "),
    ],
)
def test_what_jax_is_asked_for_and_has_not(variable: str, value: str, complaint: str) -> None:
    program = (
        "from magdiff_jax import commands, runtime; commands.run(lambda _: (runtime.prepare(), runtime.devices()))"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", variable: value}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {complaint}")
    assert "Traceback" not in done.stderr
