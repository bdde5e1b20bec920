import json
import os
import pty
import resource
import struct
import subprocess
import sys
import termios
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from magdiff_jax.errors import UserError
from magdiff_jax.media.video import read_video
from magdiff_jax.training.log import LAG, NotFiniteError, RunLog
from magdiff_jax.training.metrics import Means


def entries(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder):
    """All of a folder's files, in the order in which TensorBoard reads them."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])  # then four bytes of checksum, here and at the end
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def scalars(folder):
    """(step, value) by tag, as TensorBoard shows them: a start hides what came before of its step and later ones."""
    shown = {}
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            shown = {tag: [pair for pair in pairs if pair[0] < event.step] for tag, pairs in shown.items()}
        for value in event.summary.value:
            if value.HasField("simple_value"):
                shown.setdefault(value.tag, []).append((event.step, value.simple_value))
    return shown


def metrics(loss, **others):
    return {"loss": jnp.float32(loss), **{name: jnp.float32(value) for name, value in others.items()}}


def train(folder, first, last, steps=10, every=2, **options):
    with RunLog(folder, steps, first - 1, every=every, clips=4, **options) as log:
        for step in range(first, last + 1):
            log.step(step, metrics(step / 10))


def test_entries_are_means_of_their_steps(tmp_path):
    norms_sums_counts = [
        (2.0, [1, 0, 0, 5], [2, 0, 0, 1]),
        (4.0, [1, 0, 3, 0], [2, 0, 1, 0]),
        (np.inf, [0, np.nan, 0, 0], [0, 1, 0, 0]),
        (6.0, [0, 7, 0, 0], [0, 1, 0, 0]),
    ]
    with RunLog(tmp_path, 4, every=2, clips=4, flops=3e12, peak=1e15) as log:
        for step, (norm, sums, counts) in enumerate(norms_sums_counts, 1):
            quarters = {"quarter_sums": jnp.float32(sums), "quarter_counts": jnp.float32(counts)}
            log.step(step, metrics(step, gradient_norm=norm, skipped=norm == np.inf) | quarters)
    first, second = entries(tmp_path)
    assert (first["step"], first["loss"], first["gradient_norm"], first["skipped"]) == (2, 1.5, 3.0, 0.0)
    assert (first["loss/quarter_1"], first["loss/quarter_3"], first["loss/quarter_4"]) == (0.5, 3.0, 5.0)
    assert "loss/quarter_2" not in first, "no example fell into it"
    assert (second["step"], second["loss"], second["gradient_norm"], second["skipped"]) == (4, 3.5, 6.0, 0.5)
    assert second["loss/quarter_2"] == 7.0
    rate = second["speed/steps_per_second"]
    assert second["speed/clips_per_second"] == pytest.approx(4 * rate)
    assert second["speed/tflops_per_device"] == pytest.approx(3 * rate)
    assert second["speed/share_of_peak"] == pytest.approx(3e-3 * rate)
    assert 0.05 < second["memory_gb"] < 1000
    assert abs(second["time"] - time.time()) < 60


def test_tensorboard_has_the_same_numbers(tmp_path):
    train(tmp_path, 1, 6)
    shown = scalars(tmp_path)
    for name in ("loss", "speed/steps_per_second", "memory_gb"):
        assert shown[name] == [(entry["step"], pytest.approx(entry[name])) for entry in entries(tmp_path)]
    assert [step for step, _ in shown["loss"]] == [2, 4, 6]
    assert events(tmp_path)[0].file_version == "brain.Event:2"


def test_steps_are_not_waited_for_until_later(tmp_path):
    """A step's numbers are fetched when `LAG` more are on the way."""
    fetched = []

    class Scalar(float):
        def __array__(self, *_, **__):
            fetched.append(float(self))
            return np.array(float(self))

    with RunLog(tmp_path, 9, every=1, clips=1) as log:
        for step in range(1, 6):
            log.step(step, {"loss": Scalar(step)})
            assert len(entries(tmp_path)) == max(0, step - LAG)
        with log.paused():
            assert len(entries(tmp_path)) == 5


def test_time_in_pauses_and_in_the_first_step_does_not_count(tmp_path):
    with RunLog(tmp_path, 6, every=3, clips=1) as log:
        time.sleep(0.5)
        for step in range(1, 7):
            log.step(step, metrics(1))
            with log.paused():
                time.sleep(0.2)
    for entry in entries(tmp_path):
        assert entry["speed/steps_per_second"] > 10


def test_the_rest_is_written_at_the_end(tmp_path):
    train(tmp_path, 1, 7, every=5)
    assert [entry["step"] for entry in entries(tmp_path)] == [5, 7]
    assert [entry["loss"] for entry in entries(tmp_path)] == pytest.approx([0.3, 0.65])


def killed(folder, last):
    """A run of 10 steps that ends as by `kill -9` after some, in the middle of a line."""
    code = f"""
import os, sys
from pathlib import Path
from magdiff_jax.training.log import RunLog
log = RunLog(Path({str(folder)!r}), 10, every=1, clips=1)
for step in range(1, {last} + 1):
    log.step(step, {{"loss": step / 10}})
    log.scalars(step, {{"validation/loss": float(step)}})
os.kill(os.getpid(), 9)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == -9, result.stderr
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('null\n{"step": 9, "ti')


def test_what_a_killed_run_wrote_beyond_its_checkpoint_is_dropped(tmp_path):
    killed(tmp_path, 8)
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [1, 2, 3, 4, 5, 6], "nothing written is lost"
    train(tmp_path, 5, 10, every=1)
    lines = entries(tmp_path)
    assert [entry["step"] for entry in lines if "loss" in entry] == list(range(1, 11))
    assert [entry["validation/loss"] for entry in lines if "loss" not in entry] == [1, 2, 3, 4]
    shown = scalars(tmp_path)
    assert [step for step, _ in shown["loss"]] == list(range(1, 11))
    assert [step for step, _ in shown["validation/loss"]] == [1, 2, 3, 4]


def test_two_runs_within_a_second_have_files_of_their_own(tmp_path):
    train(tmp_path, 1, 4)
    train(tmp_path, 5, 8)
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [2, 4, 6, 8]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2


def test_a_loss_that_stays_not_finite_stops_the_run(tmp_path):
    losses = [1, np.nan, np.inf, 1, np.nan, -np.inf, np.nan, 1]
    with RunLog(tmp_path, 10, every=2, clips=1) as log:
        for step, loss in enumerate(losses, 1):
            log.step(step, metrics(loss), ids=(f"cats/{step}", "cats/same"))
        with pytest.raises(NotFiniteError) as error:
            log.wait()
    assert "in the steps 5, 6, 7:" in str(error.value)
    assert str(error.value).endswith("cats/5, cats/same, cats/6, cats/7")
    assert [(entry["step"], entry["loss"]) for entry in entries(tmp_path)] == [(2, 1), (4, 1), (6, None), (8, 1)]


def test_other_processes_write_nothing_and_stop_alike(tmp_path, capsys):
    with RunLog(tmp_path, 9, every=1, clips=1, writes=False) as log:
        for step in range(1, 4):
            log.step(step, metrics(np.nan))
        log.scalars(3, {"validation/loss": 2.0})
        log.clip(3, "generated", np.zeros((2, 8, 8, 3), np.uint8), 8)
        log.say("hello")
        with pytest.raises(NotFiniteError):
            log.wait()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")


def test_clips_are_gifs_in_the_folder_and_in_tensorboard(tmp_path):
    frames = np.zeros((4, 32, 48, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:, 12 * index : 12 * (index + 1)] = (250, 120, 10)
    with RunLog(tmp_path, 9, every=1, clips=1) as log:
        log.clip(7, "edit-1", frames, 8)
    path = tmp_path / "samples" / "00000007-edit-1.gif"
    clip = read_video(path, 4)
    assert np.abs(clip.frames.astype(int) - frames).max() <= 8
    assert clip.fps == pytest.approx(8, rel=0.05)
    (event,) = (event for event in events(tmp_path) if event.summary.value)
    (value,) = event.summary.value
    assert (event.step, value.tag, value.image.height, value.image.width) == (7, "samples/edit-1", 32, 48)
    assert value.image.encoded_image_string == path.read_bytes()


def test_a_line_for_each_entry_where_nobody_watches(tmp_path, capsys):
    with RunLog(tmp_path, 4, every=2, clips=8, flops=1.0, peak=2.0) as log:
        for step in range(1, 5):
            log.step(step, metrics(0.5))
        log.scalars(4, {"validation/loss": 0.25})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 2/4: loss 0.5000, ")
    assert "steps/s, " in lines[0]
    assert "% of peak, 00:0" in lines[0]
    assert "step 4: validation/loss 0.25" in lines
    assert len(lines) == 3


def test_a_bar_on_a_terminal(tmp_path):
    code = f"""
from pathlib import Path
from magdiff_jax.training.log import RunLog
with RunLog(Path({str(tmp_path)!r}), 20, 10, every=5, clips=1) as log:
    for step in range(11, 21):
        log.step(step, {{"loss": 0.125}})
    log.say("a word")
"""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    result = subprocess.run([sys.executable, "-c", code], stderr=theirs, check=False)
    screen = os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)
    assert result.returncode == 0, screen
    assert "10/20" in screen
    assert "20/20" in screen
    assert "loss=0.1250" in screen
    assert "a word" in screen
    assert "step 15/20" not in screen, "the bar says it"


@pytest.fixture
def small_files():
    """No file may grow beyond 2 kB, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_ends_the_run_in_one_line(tmp_path, small_files):
    with pytest.raises(UserError, match="could not be written: File too large"):
        train(tmp_path, 1, 1000, steps=1000, every=1)
    assert (tmp_path / "metrics.jsonl").stat().st_size > 1000


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        RunLog(tmp_path / "none", 9, every=1, clips=1)


def test_means_start_anew():
    means = Means()
    means.add(jax.device_get(metrics(1, other=5)))
    assert means.take() == {"loss": 1, "other": 5}
    means.add(jax.device_get(metrics(np.nan)))
    assert np.isnan(means.take()["loss"])
    assert means.take() == {}
