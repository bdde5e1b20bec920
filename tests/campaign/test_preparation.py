"""Twenty thousand short clips through the whole preparation, killed three times: each id ends in exactly one place."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from magdiff_jax.data.prepare.store import Store
from magdiff_jax.data.records import RecordSource
from magdiff_jax.media.writing import write_video

pytest.importorskip("sentence_transformers")
pytestmark = pytest.mark.campaign
ROOT = Path(__file__).parents[2]
CLIPS = 20_000
# Outcomes at which the run is killed.
KILLS = (3_000, 9_000, 16_000)
SUBJECTS = ("dog", "cat", "man", "car", "boat", "horse", "bird", "woman", "robot", "flower")
# Of fifty clips, those that have something wrong.
CUT_OFF, SHORT, EMPTY, VAGUE = 7, 11, 13, 17


def draw(folder: Path) -> None:
    """Clips of a square that moves, of which four in fifty are faulty, and their captions."""
    files = []
    for number in range(64):
        frames = np.zeros((8, 64, 64, 3), np.uint8)
        frames[..., 1], frames[..., 2] = np.arange(64)[:, None], number * 3
        for time_, frame in enumerate(frames):
            frame[16 + time_ : 44 + time_, 16:46] = 250, 200 - number * 2, 30
        write_video(folder / "one.mp4", frames, 8.0)
        files.append((folder / "one.mp4").read_bytes())
    write_video(folder / "one.mp4", np.zeros((4, 64, 64, 3), np.uint8), 8.0)
    faulty = {CUT_OFF: files[0][:700], SHORT: (folder / "one.mp4").read_bytes(), EMPTY: b""}
    (folder / "one.mp4").unlink()
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table)
        rows.writerow(["video", "caption"])
        for number in range(CLIPS):
            path = folder / f"{number % 100:02}" / f"{number:06}.mp4"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(faulty.get(number % 50, files[number % 64]))
            caption = f"A {SUBJECTS[number % 10]} moves over the ground, number {number}."
            rows.writerow([path.relative_to(folder), "Nothing at all." if number % 50 == VAGUE else caption])


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_twenty_thousand_clips(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    draw(videos)
    config = {"splits.train.folder": videos, "splits.train.captions": videos / "captions.csv", "rules.short_side": 32}
    command = [sys.executable, "-m", "magdiff_jax.data.prepare", "--config", "configs/data/weightless.py"]
    command += ["--out", str(out), "--workers=4", *(f"--config.{key}={value}" for key, value in config.items())]
    store, peaks, spent = Store(out / "prepared/work"), [], 0.0
    for kill in (*KILLS, None):
        start, last = time.monotonic(), store.count()
        with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE) as process:
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                try:
                    memory = watched.memory_info().rss
                except psutil.NoSuchProcess:
                    break
                count = store.count()
                peaks.append((count, memory))
                if kill is not None and count >= kill:
                    os.killpg(process.pid, signal.SIGKILL)
                    break
                time.sleep(2)
            errors = process.communicate()[1]
        spent += time.monotonic() - start
        print(f"\n{last} to {store.count()} outcomes: {time.monotonic() - start:.0f} s", flush=True)
        assert process.returncode == (0 if kill is None else -signal.SIGKILL), errors.decode()[-2000:]

    source = RecordSource(out / "prepared", "train")
    records = [source[index].info.id for index in range(len(source))]
    lines = (out / "prepared/rejected.jsonl").read_text(encoding="utf-8").splitlines()
    rules = {line["id"]: line["rule"] for line in map(json.loads, lines)}
    assert len(records) == len(set(records))
    assert len(lines) == len(rules)
    assert sorted([*records, *rules]) == sorted(f"{number % 100:02}/{number:06}" for number in range(CLIPS))
    expected = {CUT_OFF: "unreadable", SHORT: "too_short", EMPTY: "unreadable", VAGUE: "label"}
    assert dict(rules.items()) == {
        f"{number % 100:02}/{number:06}": expected[number % 50] for number in range(CLIPS) if number % 50 in expected
    }
    for count in range(0, CLIPS + 1, CLIPS // 10):
        near = [memory for at, memory in peaks if abs(at - count) <= CLIPS // 20]
        print(f"around {count:6} outcomes: {max(near, default=0) / 2**20:.0f} MiB")
    print(f"{CLIPS / spent:.1f} clips a second; result {size(out) / 1e6:.1f} MB of {size(videos) / 1e6:.1f} MB")
