"""`--requests`: from a file to a folder of videos, over devices and processes, stopped and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from magdiff_jax import UserError, edit, generate
from magdiff_jax.config import ConfigError
from magdiff_jax.media.video import read_video
from magdiff_jax.pipeline import MagDiff
from magdiff_jax.requests import read_requests
from tests.conftest import FLAGS
from tests.sampling_on_a_mesh import OPTIONS, make_batch, make_footage

CAT = skimage.data.chelsea()
# A name from before UTF-8.
LATIN1 = os.fsdecode(b"fen\xeatre.png")
MASK = np.zeros(CAT.shape[:2], bool)
MASK[40:260, 120:330] = True
COUNT = 11
# Coded as H.264, frames that differ by one level here and there differ by a few.
LEVELS, MEAN = 16, 0.3


def write_requests(folder: Path, *lines: Any) -> Path:
    """A file of requests beside a picture and its mask."""
    Image.fromarray(CAT).save(folder / "cat.png")
    Image.fromarray(MASK).save(folder / "mask.png")
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "requests.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder / "requests.jsonl"


def request(index: int) -> dict[str, Any]:
    return {"id": f"cat-{index}", "prompt": f"a cat and {index} dogs", "subject": "cat.png", "seed": 100 - index}


def ask(command: Any, model: Path, requests: Path, out: Path, **flags: Any) -> None:
    """Run a command in this process."""
    given = {"model": model, "requests": requests, "out": out, **{"steps": 2, **flags}}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not True]
    command.main([*words, *(f"--{name}" for name, value in given.items() if value is True)])


def alike(one: Path, other: Path) -> bool:
    a, b = (read_video(path, 4).frames.astype(int) for path in (one, other))
    return np.abs(a - b).max() <= LEVELS and np.abs(a - b).mean() < MEAN


def in_a_new_process(devices: int, *words: object) -> subprocess.Popen[str]:
    """Python with so many virtual devices."""
    environment = {**os.environ, "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def start_both(model: Path, requests: Path, out: Path) -> list[subprocess.Popen[str]]:
    """Two processes with two devices each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = ["--model", model, "--requests", requests, "--out", out, "--steps=8", "--eta=0.5"]
    group = ["--coordinator", f"127.0.0.1:{port}", "--processes", 2]
    return [in_a_new_process(2, "-m", "magdiff_jax.generate", *shared, *group, "--process", each) for each in (0, 1)]


@pytest.fixture(autouse=True)
def flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restored afterwards: a command sets them for its own process."""
    monkeypatch.setenv("XLA_FLAGS", "")


def test_two_processes_go_on_after_a_kill_and_share_the_rest(model_folder: Path, tmp_path: Path) -> None:
    requests = write_requests(tmp_path, *map(request, range(COUNT)))
    out = tmp_path / "out"
    killed = start_both(model_folder, requests, out)
    while not list(out.glob("*.mp4")):
        assert all(process.poll() is None for process in killed), [process.communicate() for process in killed]
        time.sleep(0.01)
    for process in killed:
        process.send_signal(signal.SIGKILL)
    for process in killed:
        process.communicate()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    assert 0 < len(finished) < COUNT

    went_on = start_both(model_folder, requests, out)
    said = [process.communicate(timeout=300) for process in went_on]
    assert [process.returncode for process in went_on] == [0, 0], said
    made = [int(stdout.split(": ")[1].split()[0]) for stdout, _ in said]
    assert sum(made) == COUNT - len(finished)
    names = {f"cat-{index}{suffix}" for index in range(COUNT) for suffix in (".mp4", ".json")}
    assert {path.name for path in out.glob("[!.]*")} == names
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items())

    # Each is what a run of its own makes; among them one of the last batch, which was filled up.
    for index in (0, COUNT - 1):
        record = out / f"cat-{index}.json"
        assert json.loads(record.read_text())["arguments"]["seed"] == 100 - index
        generate.main(["--rerun", str(record), "--out", str(tmp_path / f"again-{index}.mp4")])
        assert alike(tmp_path / f"again-{index}.mp4", out / f"cat-{index}.mp4")
        assert (tmp_path / f"again-{index}.json").read_text() == record.read_text()
    assert not alike(out / "cat-0.mp4", out / f"cat-{COUNT - 1}.mp4")


def test_a_mesh_gives_what_one_device_gives(model_folder: Path, pipe: MagDiff, tmp_path: Path) -> None:
    latents: list[np.ndarray] = []
    alone = [
        pipe.generate(
            prompt,
            subject,
            negative_prompt=negative,
            seed=seed,
            on_step=lambda _, step, now: latents.append(np.asarray(now)) if step == 2 else None,
            **OPTIONS,
        )
        for prompt, subject, negative, seed in zip(*make_batch(CAT), strict=True)
    ]
    write_requests(tmp_path)
    script = Path(__file__).with_name("sampling_on_a_mesh.py")
    process = in_a_new_process(4, script, model_folder, tmp_path / "cat.png", tmp_path / "found.npz")
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    found = np.load(tmp_path / "found.npz")
    assert np.abs(found["frames"].astype(int) - np.stack(alone)).max() <= 1
    np.testing.assert_allclose(found["latents"], np.concatenate(latents), atol=1e-4)
    long = np.concatenate(list(pipe.edit_long("a cat", make_footage(11), seed=7, **OPTIONS)))
    assert np.abs(found["long"].astype(int) - long).max() <= 1
    # Half of the parameters on each device, but for the biases and the scales of norms.
    assert 0.5 < found["share"] < 0.6
    assert found["complaint"] == "3 prompts: must be a multiple of 4, as the mesh shares out"


def test_a_request_that_fails_does_not_stop_the_others(
    model_folder: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = {"prompt": "a man in the snow", "video": str(clips / "carphone_pristine.mp4")}
    box = {"subject_box": "30,20,110,120"}
    lines = [
        {"id": "first", **video, **box, "start": 2, "stride": 3},
        {"id": "missing", **video, **box, "video": "missing.mp4"},
        {"id": "half", **video, **box, "prompt": "a man \ud83d"},
        "",
        {"id": "short.v2", **video, **box, "start": 10**6},
        {"id": "Mask_2", **video, "masks": LATIN1, "fps": 12, "negative_prompt": None},
    ]
    requests = write_requests(tmp_path, *lines)
    Image.fromarray(np.full((144, 176), 255, np.uint8)).save(tmp_path / LATIN1)
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"3 of 5 requests failed; see .*out/failed.jsonl"):
        ask(edit, model_folder, requests, out, sheet=True)
    shown = capsys.readouterr()
    assert f"{out}: 2 made, 0 were there" in shown.out
    assert "failed: missing: " in shown.err
    failed = [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()]
    assert [line["id"] for line in failed] == ["missing", "half", "short.v2"]
    assert "missing.mp4 does not exist" in failed[0]["error"]
    assert failed[1]["error"] == r"--prompt has half a character (\ud83d, number 7): take it out"
    assert "has 120 frames" in failed[2]["error"]
    names = {f"{name}.{suffix}" for name in ("first", "Mask_2") for suffix in ("mp4", "json", "sheet.png")}
    assert {path.name for path in out.iterdir()} == {*names, "failed.jsonl"}
    assert read_video(out / "Mask_2.mp4", 4).fps == 12

    # Mended, they are made too; what is there stays.
    before = (out / "first.mp4").stat().st_mtime_ns
    write_requests(tmp_path, lines[0], lines[-1])
    ask(edit, model_folder, requests, out, sheet=True)
    assert f"{out}: 0 made, 2 were there" in capsys.readouterr().out
    assert (out / "first.mp4").stat().st_mtime_ns == before
    assert not (out / "failed.jsonl").exists()

    # A record without its video is of a run that was stopped; a video without its record is somebody else's.
    video_bytes = (out / "first.mp4").read_bytes()
    (out / "first.mp4").unlink()
    ask(edit, model_folder, requests, out, sheet=True)
    assert f"{out}: 1 made, 1 were there" in capsys.readouterr().out
    assert (out / "first.mp4").read_bytes() == video_bytes
    (out / "first.json").unlink()
    with pytest.raises(UserError, match=r"line 1: .*first.mp4 is of another request or model; choose another id"):
        ask(edit, model_folder, requests, out, sheet=True)

    # So is a request under a name that another one has: it takes the place when told to.
    write_requests(tmp_path, {**lines[0], "id": "Mask_2"})
    with pytest.raises(UserError, match=r"line 1: .*Mask_2.mp4 is of another request or model"):
        ask(edit, model_folder, requests, out, sheet=True)
    write_requests(tmp_path, lines[0])
    ask(edit, model_folder, requests, out, sheet=True, seed=5, overwrite=True)
    assert json.loads((out / "first.json").read_text())["arguments"]["seed"] == 5
    assert (out / "first.mp4").read_bytes() != video_bytes


def test_lines_with_and_without_a_subject_share_a_batch(model_folder: Path, tmp_path: Path) -> None:
    lines = [{"id": "alone", "prompt": "a cat"}, {"id": "cat", "prompt": "a cat", "subject": "cat.png"}]
    out = tmp_path / "out"
    ask(generate, model_folder, write_requests(tmp_path, *lines), out, batch=2, sheet=True)
    generate.main(["--rerun", str(out / "alone.json"), "--out", str(tmp_path / "again.mp4")])
    assert alike(tmp_path / "again.mp4", out / "alone.mp4")
    assert not alike(out / "alone.mp4", out / "cat.mp4")
    assert {"alone.sheet.png", "cat.sheet.png"} < {path.name for path in out.iterdir()}


GOOD = {"id": "good", "prompt": "a cat", "subject": "cat.png"}


def test_values_as_other_programs_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    line = {**GOOD, "subject": "~/cat.png", "mask": "~nobody.png", "seed": 7.0, "guidance": 7.5, "fps": 8.0}
    (read,) = read_requests(write_requests(tmp_path, line), generate.TASK, ["--steps=2"], tmp_path / "out")
    assert (read.args.subject, read.args.mask) == (tmp_path / "home/cat.png", tmp_path / "~nobody.png")
    assert (read.args.seed, read.args.guidance, read.args.fps) == (7, 7.5, 8.0)
    assert isinstance(read.args.seed, int)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("no json", "line 2: not JSON"),
        ("[1]", "line 2: no JSON object"),
        ({"prompt": "a", "subject": "cat.png"}, "line 2: id = None: must be"),
        ({**GOOD, "id": "../up"}, "line 2: id = '../up': must be up to 100 letters"),
        ({**GOOD, "id": ".hidden"}, "line 2: id = '.hidden'"),
        ({**GOOD, "id": "GOOD"}, "line 2: id 'GOOD' stands in line 1 already"),
        ({"id": "a", "subject": "cat.png"}, "line 2: the following arguments are required: --prompt"),
        ({"id": "a", "prompt": "a", "mask": "mask.png"}, "line 2: --mask is of the subject's picture: add --subject"),
        ({**GOOD, "id": "a", "magic": 1}, "line 2: unrecognized arguments: --magic=1"),
        ({**GOOD, "id": "a", "magic": None}, "line 2: magic is no flag of this command"),
        ({**GOOD, "id": "a", "help": True}, "line 2: help = True: must be a text or a number"),
        ({**GOOD, "id": "a", "help": ""}, "line 2: argument -h/--help: ignored explicit argument ''"),
        *(
            ({**GOOD, "id": "a", name: "x"}, f"line 2: {name!r} is no flag's name: those have small letters")
            for name in (
                "model=x",
                "prompt=a dog",
                "seed=",
                "=",
                "",
                "-",
                "--seed",
                "seed ",
                "Seed",
                "seed\n",
                "seed\0",
                "ſeed",
            )
        ),
        ({**GOOD, "id": "a", "model=x": None}, "line 2: 'model=x' is no flag's name"),
        ('{"id": "a", "prompt": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2: not JSON; write one object a line"),
        ('{"id": "a", "prompt": ' + "[" * 500 + "]" * 500 + "}", "line 2: not JSON; write one object a line"),
        ('{"id": "a", "prompt": "a", "seed": ' + "1" * 5000 + "}", "line 2: not JSON; write one object a line"),
        ({**GOOD, "id": "a", "prompt": {"a": 1}}, "line 2: prompt = {'a': 1}: must be a text or a number"),
        ({**GOOD, "id": "a", "steps": "many"}, "line 2: argument --steps: invalid int value"),
        ({**GOOD, "id": "a", "steps": 0}, "line 2: Settings.steps = 0"),
        ({**GOOD, "id": "a", "seed": 7.5}, "line 2: argument --seed: invalid int value: '7.5'"),
        ({**GOOD, "id": "a", "seed": 2**32}, "line 2: seed = 4294967296"),
        ({**GOOD, "id": "a", "frames": 0}, "line 2: --frames 0: must be at least 1"),
        ({**GOOD, "id": "a", "fps": 0}, "line 2: fps 0.0"),
        ({**GOOD, "id": "a", "subject": ["cat.png"]}, "line 2: subject = ['cat.png']: must be a text or a number"),
        ({**GOOD, "id": "a", "subject_box": "1,2"}, 'line 2: box "1,2"'),
        ({**GOOD, "id": "a", "subject_box": "1,2,3,4", "mask": "mask.png"}, "line 2: argument --"),
        ({**GOOD, "id": "a", "model": "other"}, "line 2: model is the same for all requests; give it as the flag"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_a_mistake_in_the_file_is_named_before_the_model_is_read(line: Any, complaint: str, tmp_path: Path) -> None:
    requests = write_requests(tmp_path, GOOD, line)
    with pytest.raises((UserError, ConfigError)) as caught:
        ask(generate, tmp_path / "no-model", requests, tmp_path / "out")
    assert complaint in str(caught.value)
    assert str(requests) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"requests": "missing.jsonl"}, "missing.jsonl: No such file"),
        ({"requests": os.devnull}, "holds no requests"),
        ({"batch": 0}, "--batch 0: must be at least 1"),
        ({"fsdp": 0}, "--fsdp 0: must be at least 1"),
        ({"count": 2}, "without --rerun and --count"),
        ({"rerun": "a.json"}, "without --rerun and --count"),
        ({"steps": "many"}, "argument --steps"),
        ({}, "no-model: no MagDiff model"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_mistake_in_the_flags_is_named(flags: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    requests = write_requests(tmp_path, GOOD)
    with pytest.raises(UserError) as caught:
        ask(generate, tmp_path / "no-model", **{"requests": requests, "out": tmp_path / "out", **flags})
    assert complaint in str(caught.value)


def test_devices_that_do_not_fit_are_named(model_folder: Path, tmp_path: Path) -> None:
    requests = write_requests(tmp_path, GOOD, {**GOOD, "id": "odd", "height": 15})
    with pytest.raises(UserError, match=r"line 2: height 15, width 16: must be multiples of 2"):
        ask(generate, model_folder, requests, tmp_path / "out")
    write_requests(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="does not fit 1 devices"):
        ask(generate, model_folder, requests, tmp_path / "out", fsdp=2)
    with pytest.raises(UserError, match="--coordinator, --processes and --process belong together"):
        ask(generate, model_folder, requests, tmp_path / "out", processes=2)


@pytest.mark.parametrize("flag", ["--batch=2", "--fsdp=2", "--processes=2"])
def test_flags_of_many_videos_need_a_file_of_requests(flag: str) -> None:
    with pytest.raises(UserError, match="belongs to --requests"):
        generate.main(["--model=m", "--prompt=p", "--subject=s", "--out=o.mp4", flag])
