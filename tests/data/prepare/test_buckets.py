"""The preparation from a bucket into a bucket, on an S3 server of this machine."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sentence_transformers")
s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto")

from magdiff_jax.data.prepare import stages  # noqa: E402
from magdiff_jax.data.prepare.__main__ import main  # noqa: E402
from magdiff_jax.data.records import CACHE, RecordSource  # noqa: E402
from magdiff_jax.errors import UserError  # noqa: E402
from magdiff_jax.places import place, walk  # noqa: E402
from tests.data.prepare.drawn import Bright, draw, flags, number  # noqa: E402

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an empty S3 server, which listens on 127.0.0.1 alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.kill()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An empty bucket, s3://clips."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("clips")
    yield files
    files.rm("clips", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def test_from_a_bucket_into_a_bucket(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(stages.SEGMENTERS, "bright", "tests.data.prepare.drawn.Bright")
    videos = draw(tmp_path / "videos", 4)
    (videos / "003.mp4").write_bytes(b"no video")
    bucket.put(str(videos), "clips/videos", recursive=True)
    arguments = flags(videos, tmp_path)
    arguments = [
        word.replace(str(videos), "s3://clips/videos").replace(str(tmp_path), "s3://clips/out") for word in arguments
    ]

    def breaks(frames: Any) -> None:
        if number(frames) == 1:
            raise UserError("model bright: it cannot be loaded")

    monkeypatch.setattr(Bright, "before", staticmethod(breaks))
    with pytest.raises(UserError, match="model bright"):
        main(arguments)
    assert bucket.exists("clips/out/prepared/work/run.json")
    monkeypatch.setattr(Bright, "before", staticmethod(lambda frames: None))
    main(arguments)
    assert sorted(os.path.basename(path) for path in bucket.ls("clips/out/prepared", refresh=True)) == [
        "1.0.0",
        "rejected.jsonl",
        "summary.json",
    ]
    assert json.loads(bucket.cat("clips/out/prepared/summary.json"))["splits"]["train"]["rejected"] == {"unreadable": 1}

    source = RecordSource("s3://clips/out/prepared", "train")
    clips = {source[index].info.id: source[index] for index in range(len(source))}
    assert sorted(clips) == ["000", "001", "002"]
    for id, clip in clips.items():
        assert number(clip.frames(range(8))) == int(id)
        assert clip.info.caption == f"Square number {int(id)}."
    assert len(list(CACHE.expanduser().glob("*/*.array_record*"))) == 1

    main([*arguments, "--overwrite", "--config.threshold=0.5"])
    (tmp_path / "mine.txt").write_text("keep me")
    bucket.put(str(tmp_path / "mine.txt"), "clips/out/prepared/mine.txt")
    with pytest.raises(UserError, match=r"holds something else \(mine\.txt\)"):
        main([*arguments, "--overwrite"])
    assert bucket.cat("clips/out/prepared/mine.txt") == b"keep me"


def test_a_walk_through_a_bucket_is_that_through_a_folder(bucket: Any, tmp_path: Path) -> None:
    for name in ("a.txt", "b/c.txt", "b/d/e.txt", "b/d/f/g.txt", "h/i.txt"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).write_text(name)
    bucket.put(str(tmp_path / "top"), "clips/top", recursive=True)

    def found(top: Any) -> list[tuple[str, list[str], list[str]]]:
        steps = []
        for here, folders, files in walk(top):
            folders[:] = [name for name in folders if name != "d"]
            steps.append((here, sorted(folders), sorted(files)))
        return sorted(steps)

    assert found(place("s3://clips/top")) == found(tmp_path / "top")
    assert found(tmp_path / "top") == [("", ["b", "h"], ["a.txt"]), ("b", [], ["c.txt"]), ("h", [], ["i.txt"])]


def test_other_addresses_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^ftp://a/b: give a path of this machine, or one that begins with gs:// or s3:"
    ):
        place("ftp://a/b")
