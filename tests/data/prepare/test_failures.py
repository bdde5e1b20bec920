"""What is a video's fault puts it aside; what is the machine's stops the run, and nothing is lost."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magdiff_jax.data import shards
from magdiff_jax.data.prepare import dataset, listing, pipeline, stages
from magdiff_jax.data.prepare.__main__ import main
from magdiff_jax.data.prepare.failures import of_the_machine
from magdiff_jax.data.prepare.store import Store, key
from magdiff_jax.data.records import RecordSource
from magdiff_jax.errors import Stopped, UserError, refusals_told
from tests.data.prepare.drawn import Bright, add, draw, flags, number

pytest.importorskip("sentence_transformers")

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(stages.SEGMENTERS, "bright", "tests.data.prepare.drawn.Bright")
    monkeypatch.setattr(pipeline, "_WAITS", (0.0, 0.0))


def before_each(monkeypatch: pytest.MonkeyPatch, before: Callable[[np.ndarray], None]) -> None:
    monkeypatch.setattr(Bright, "before", staticmethod(before))


def outcomes(out: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Records by id, and the rules by which the others were put aside."""
    source = RecordSource(out / "prepared", "train")
    lines = (out / "prepared/rejected.jsonl").read_text(encoding="utf-8").splitlines()
    records = {source[index].info.id: source[index] for index in range(len(source))}
    return records, {line["id"]: line["rule"] for line in map(json.loads, lines)}


def test_a_gpu_that_breaks_stops_the_run_and_puts_nothing_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out, calls = draw(tmp_path / "videos", 6), tmp_path / "out", []

    def breaks(frames: np.ndarray) -> None:
        calls.append(number(frames))
        if len(calls) > 2:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    before_each(monkeypatch, breaks)
    with pytest.raises(Stopped, match=r"^this machine failed at \d+: RuntimeError: CUDA error.*kept: mend it"):
        main(flags(videos, out))
    store = Store(out / "prepared/work")
    assert len(store.records("train")) == 2
    assert store.rejections() == []
    assert not (out / "prepared/rejected.jsonl").exists()
    assert len(calls) == 5, "what fails is tried three times where it is"

    before_each(monkeypatch, lambda frames: None)
    main(flags(videos, out))
    records, rules = outcomes(out)
    assert (sorted(records), rules) == ([f"{index:03}" for index in range(6)], {})


def test_a_file_system_that_hiccups_once_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, failed = draw(tmp_path / "videos", 3), set[int]()

    def hiccups(frames: np.ndarray) -> None:
        if number(frames) not in failed:
            failed.add(number(frames))
            raise OSError(errno.EIO, "Input/output error")

    before_each(monkeypatch, hiccups)
    main(flags(videos, tmp_path / "out"))
    records, rules = outcomes(tmp_path / "out")
    assert (len(records), rules, failed) == (3, {}, {0, 1, 2})


def test_a_video_at_which_every_machine_fails_does_not_stop_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out = draw(tmp_path / "videos", 4), tmp_path / "out"

    def too_large(frames: np.ndarray) -> None:
        if number(frames) == 2:
            np.empty((1 << 46,), np.uint8)

    before_each(monkeypatch, too_large)
    for _ in range(2):
        with pytest.raises(Stopped, match="this machine failed at 002"):
            main(flags(videos, out))
    with pytest.raises(Stopped, match=r"^1 clip ended in an error, such as 002: 3 machines or runs failed at it"):
        main(flags(videos, out))
    # The next run begins with it anew, as it does with all errors.
    with pytest.raises(Stopped, match="this machine failed at 002"):
        main(flags(videos, out))
    with pytest.raises(Stopped, match="this machine failed at 002"):
        main(flags(videos, out))
    main(flags(videos, out, most_errors=0.5))
    records, rules = outcomes(out)
    assert (sorted(records), rules) == (["000", "001", "003"], {"002": "error"})


def test_errors_are_tried_again_and_many_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, out, bad = draw(tmp_path / "videos", 21), tmp_path / "out", {3, 5}

    def confused(frames: np.ndarray) -> None:
        if number(frames) in bad:
            raise ValueError(f"shapes\ndo not fit: {number(frames)}")

    before_each(monkeypatch, confused)
    with pytest.raises(
        Stopped, match=r"^2 clips ended in an error, such as 00\d: ValueError: shapes do not fit: \d: more"
    ):
        main(flags(videos, out))
    assert not (out / "prepared/1.0.0").exists()
    bad.remove(5)
    main(flags(videos, out))
    records, rules = outcomes(out)
    assert (len(records), rules) == (20, {"003": "error"})


def test_a_file_that_vanishes_between_probing_and_cutting_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out, parts = draw(tmp_path / "videos", 4), tmp_path / "out", pipeline.parts

    def vanishing(info: Any, config: Any) -> Any:
        (videos / "002.mp4").unlink(missing_ok=True)
        return parts(info, config)

    # All are probed before the first one is cut.
    monkeypatch.setattr(pipeline, "parts", vanishing)
    main(flags(videos, out, **{"cut.all_parts": True}))
    records, rules = outcomes(out)
    assert (sorted(records), rules) == (["000", "001", "003"], {"002": "vanished"})


def test_a_folder_that_vanishes_is_the_machine_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, out, parts = draw(tmp_path / "videos", 3), tmp_path / "out", pipeline.parts

    def vanishing(info: Any, config: Any) -> Any:
        if videos.exists():
            videos.rename(tmp_path / "elsewhere")
        return parts(info, config)

    monkeypatch.setattr(pipeline, "parts", vanishing)
    with pytest.raises(Stopped, match="the folder of the videos is not there any more"):
        main(flags(videos, out, **{"cut.all_parts": True}))
    assert Store(out / "prepared/work").rejections() == []


def test_a_file_that_comes_or_goes_gives_no_record_another_s_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out = draw(tmp_path / "videos", 5), tmp_path / "out"
    # Before all others in the order of the names; and one of the middle goes.
    before_each(monkeypatch, lambda frames: None if (videos / "-1.mp4").exists() else change())

    def change() -> None:
        add(videos, 20).rename(videos / "-1.mp4")
        (videos / "002.mp4").unlink(missing_ok=True)

    main(flags(videos, out))
    records, rules = outcomes(out)
    assert sorted({*records, *rules}) == [f"{index:03}" for index in range(5)]
    for id, clip in records.items():
        assert clip.info.caption == f"Square number {int(id)}."
        assert number(clip.frames(range(8))) == int(id)


def test_records_in_many_files_though_the_run_stops_among_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, out, write, written = draw(tmp_path / "videos", 6), tmp_path / "out", dataset.write_shard, []
    monkeypatch.setattr(shards, "LEAST_SHARD", 1)

    def full_after_two(path: Path, records: Any) -> Any:
        if len(written) == 2:
            (path.parent / ".writing-killed").mkdir()
            raise UserError("no room") from OSError(errno.ENOSPC, "No space left on device")
        written.append(path.name)
        return write(path, records)

    monkeypatch.setattr(dataset, "write_shard", full_after_two)
    with pytest.raises(Stopped, match="this machine failed: no room; all outcomes so far are kept"):
        main(flags(videos, out))
    folder, store = out / "prepared/1.0.0", Store(out / "prepared/work")
    assert sorted(path.name for path in folder.glob("*.array_record*")) == sorted(written)
    assert len(store.records("train")) == 4, "those that are in their files have left the store"
    with pytest.raises(UserError, match=r"no dataset_info\.json"):
        RecordSource(out / "prepared", "train")

    monkeypatch.setattr(dataset, "write_shard", write)
    main(flags(videos, out))
    records, rules = outcomes(out)
    assert (sorted(records), rules) == ([f"{index:03}" for index in range(6)], {})
    assert len(list(folder.glob("*.array_record-*-of-00006"))) == 6
    assert not list(folder.glob(".*"))
    assert not store.folder.exists()
    order = [key(id) for id in records]
    assert order == sorted(order)


def test_sources_are_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_source = [], listing.open_source
    monkeypatch.setattr(listing, "open_source", lambda spec: opened.append(spec) or open_source(spec))
    main([*flags(draw(tmp_path / "videos", 3), tmp_path / "out"), "--workers", "3"])
    assert len(opened) == 1


def test_another_list_of_videos_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, out = draw(tmp_path / "videos", 4), tmp_path / "out"

    def breaks(frames: np.ndarray) -> None:
        raise MemoryError

    before_each(monkeypatch, breaks)
    with pytest.raises(Stopped):
        main(flags(videos, out))
    before_each(monkeypatch, lambda frames: None)
    rows = (videos / "captions.csv").read_text().splitlines()
    (videos / "captions.csv").write_text("\n".join([*rows[:2], *rows[3:]]))
    (videos / "001.mp4").rename(videos / "100.mp4")
    with pytest.raises(UserError, match=r"other videos: 1 gone \('001' first\) and 1 new \('100' first\); bring back"):
        main(flags(videos, out))
    (videos / "100.mp4").rename(videos / "001.mp4")
    (videos / "captions.csv").write_text("\n".join(rows).replace("number 3", "number three"))
    with pytest.raises(UserError, match="other videos: their captions or masks have changed"):
        main(flags(videos, out))


def test_a_model_that_cannot_run_ends_the_run_whichever_worker_finds_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(frames: np.ndarray) -> None:
        raise UserError("model bright: it cannot be loaded; copy it again")

    before_each(monkeypatch, damaged)
    with pytest.raises(UserError, match=r"^model bright: it cannot be loaded; copy it again$"):
        main([*flags(draw(tmp_path / "videos", 4), tmp_path / "out"), "--workers", "2"])
    assert Store(tmp_path / "out/prepared/work").rejections() == []


def test_a_worker_that_does_not_see_the_store_refuses(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"does not see .*run\.json: give --out in a folder or bucket that all machines"):
        Store(tmp_path / "work").check()


def raised(act: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        act()
    return caught.value


def full_disk() -> None:
    with refusals_told(), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def no_memory_in_opencv() -> None:
    import cv2

    cv2.resize(np.zeros((1, 1), np.uint8), (1 << 30, 1 << 30))


def no_memory_in_torch() -> None:
    import torch

    torch.empty(1 << 50)


@pytest.mark.parametrize("act", [full_disk, no_memory_in_opencv, no_memory_in_torch, lambda: np.empty(1 << 46)])
def test_what_is_of_the_machine(act: Callable[[], Any]) -> None:
    if act is no_memory_in_torch:
        pytest.importorskip("torch")
    assert of_the_machine(raised(act))


@pytest.mark.parametrize(
    "act",
    [
        lambda: Path("/no/such/file").read_bytes(),
        lambda: os.listdir(__file__),
        lambda: np.zeros(3) + np.zeros(4),
        lambda: json.loads("{"),
        lambda: (_ for _ in ()).throw(UserError("a caption with half a character")),
    ],
)
def test_what_is_of_the_video(act: Callable[[], Any]) -> None:
    assert not of_the_machine(raised(act))
