import json
import pickle
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.config_file import read_config
from magdiff_jax.data.clip import Source
from magdiff_jax.data.sources import open_source
from magdiff_jax.data.sources.folder import FolderSource
from magdiff_jax.errors import UserError
from magdiff_jax.media.video import read_video
from magdiff_jax.media.writing import write_video

FULL = "« Ein Mann », he says\nin a car"


@pytest.fixture(scope="module")
def carphone(clips) -> np.ndarray:
    """Four frames of a man in a car, [4, 144, 176, 3]."""
    return read_video(clips / "carphone_pristine.mp4", 4).frames[:, :144, :176]


@pytest.fixture
def videos(tmp_path, carphone):
    """Videos in a folder and below it, a folder of frames, and what is none."""
    folder = tmp_path / "videos"
    for name in ("b.mp4", "a.v2.gif", "deep/er/c.mp4", "deep/frames", "café.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / name if "." in name else f"{folder / name}/", carphone, 8.0)
    (folder / "notes.md").write_text("no video")
    (folder / "poster.png").write_bytes((folder / "deep/frames/0000.png").read_bytes())
    (folder / ".hidden.mp4").touch()
    (folder / ".cache").mkdir()
    shutil.copy(folder / "b.mp4", folder / ".cache" / "d.mp4")
    return folder


IDS = ["a.v2", "b", "café", "deep/er/c", "deep/frames"]


def table(folder, name, text):
    (folder.parent / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder.parent / name


def ids(source):
    return [source[index].info.id for index in range(len(source))]


@pytest.mark.quick
def test_videos_are_listed_in_the_order_of_their_ids(videos, carphone):
    source = FolderSource(videos, name="mine", fps=5.0)
    assert isinstance(source, Source)
    assert ids(source) == IDS
    frames = source[4]
    assert (frames.info.source, frames.info.fps, frames.info.length) == ("mine", 5.0, 4)
    assert source[1].info.fps == 8.0
    np.testing.assert_array_equal(frames.frames([2]), carphone[[2]])
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert ids(copy) == IDS
    np.testing.assert_array_equal(copy[1].frames([3]), source[1].frames([3]))


def test_text_beside_a_video_is_its_caption(videos):
    (videos / "b.txt").write_bytes("\ufeffein Mädchen 🦊\n".encode())
    (videos / "deep" / "frames.txt").write_text("a man")
    (videos / "a.v2.txt").write_bytes(b"\xff\xfe")
    source = FolderSource(videos)
    assert (source[1].info.caption, source[1].info.provenance) == ("ein Mädchen 🦊", {"caption": {"from": "b.txt"}})
    assert (source[2].info.caption, source[2].info.provenance) == ("", {})
    assert source[4].info.caption == "a man"
    with pytest.raises(UserError, match=r"a\.v2\.txt is no UTF-8 text"):
        _ = source[0].info


def test_a_text_that_is_a_link_out_of_the_folder_is_not_read(videos, tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key.txt").write_text("a secret")
    (videos / "captions").mkdir()
    (videos / "captions" / "b.txt").write_text("a man")
    (videos / "a.v2.txt").symlink_to(tmp_path / "private" / "key.txt")
    (videos / "café.txt").symlink_to("../private/key.txt")
    (videos / "b.txt").symlink_to("captions/b.txt")
    (videos / "deep" / "er" / "d.mp4").symlink_to(videos / "b.mp4")
    (tmp_path / "linked").symlink_to(videos)
    for folder in (videos, tmp_path / "linked"):
        source = FolderSource(folder)
        for index in (0, 2):
            with pytest.raises(UserError, match=r"\.txt is a link that leads out of .*: put a copy of the text there"):
                _ = source[index].info
        assert source[1].info.caption == "a man"
        assert source[4].info.length == 4


@pytest.mark.parametrize(("name", "split"), [("weightless", "train"), ("paper", "train"), ("evaluation", "test")])
def test_flags_of_prepare_reach_captions_in_texts_or_a_table_and_masks(videos, name, split):
    def source(captions):
        values = {"folder": videos, "captions": captions, "masks": videos / "deep"}
        overrides = [f"--config.splits.{split}.{key}={value}" for key, value in values.items()]
        return open_source(read_config(Path(f"configs/data/{name}.py"), overrides)["splits"][split])

    (videos / "b.txt").write_text("a man in a car")
    shutil.copytree(videos / "deep/frames", videos / "deep/b")
    beside, listed = source(""), source(table(videos, "t.csv", "video,caption\nb.mp4,from the table\n"))
    assert ids(beside) == ids(listed)
    assert [each[ids(each).index("b")].info.caption for each in (beside, listed)] == [
        "a man in a car",
        "from the table",
    ]
    assert beside[ids(beside).index("b")].masks([0]) is not None


def rows_as_csv(rows):
    quoted = [",".join('"' + str(cell).replace('"', '""') + '"' for cell in row.values()) for row in rows]
    return "\ufeff" + "\r\n".join([",".join(rows[0]), *quoted]) + "\r\n"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_captions_in_a_table(videos, suffix):
    rows = [
        {"video": "b.mp4", "caption": FULL, "label": "man", "category": "person", "box": "10,20,30,40", "extra": 1},
        {"video": "./deep/er/c", "caption": "", "label": "", "category": "", "box": "", "extra": 2},
        {"video": unicodedata.normalize("NFD", "café.mp4"), "caption": "x", "label": "", "category": "", "box": ""},
    ]
    for row in rows:
        row.setdefault("extra", 3)
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = rows_as_csv(rows) if suffix == "csv" else "\ufeff" + lines
    (videos / "a.v2.txt").write_text("not looked at")
    source = FolderSource(videos, captions=table(videos, f"t.{suffix}", text))
    assert ids(source) == IDS
    info = source[1].info
    assert (info.caption, info.augmented_caption, info.label, info.category) == (FULL, FULL, "man", "person")
    assert info.provenance == {"caption": {"from": f"t.{suffix}"}, "box": [10, 20, 30, 40]}
    assert source[0].info.caption == ""
    assert source[0].info.provenance == {}
    assert source[2].info.caption == "x"
    assert source[3].info.provenance == {"caption": {"from": f"t.{suffix}"}}
    assert (source[3].info.label, source[3].info.category) == ("", "other")


def test_a_box_may_be_a_list(videos):
    line = json.dumps({"video": "b", "caption": "a", "box": [1, 2, 3, 4]})
    source = FolderSource(videos, captions=table(videos, "t.jsonl", line))
    assert source[1].info.provenance["box"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "video,caption\nb.mp4,x\nnone.mp4,x\n", r"t\.csv line 3: there is no video 'none\.mp4'"),
        ("t.csv", "video,caption\n../videos/b.mp4,x\n", "line 2: .* leaves the folder"),
        ("t.csv", "video,caption\n/etc/passwd,x\n", "line 2: '/etc/passwd' leaves the folder"),
        ("t.csv", "video,caption\nb.mp4,x\nb,y\n", "line 3: 'b' is on line 2 already"),
        ("t.csv", "video,text\nb.mp4,x\n", "must name the columns video and caption"),
        ("t.csv", "", "must name the columns video and caption"),
        ("t.csv", "video,caption\nb.mp4,a man, driving\n", "line 2 has more or fewer cells .* in quotes"),
        ("t.csv", "video,caption\nb.mp4\n", "line 2 has more or fewer cells"),
        ("t.csv", 'video,caption\nb.mp4,"open\n', r"t\.csv line 2: "),
        ("t.csv", "video,caption,category\nb.mp4,x,dog\n", "line 2: category 'dog' must be one of person, animal"),
        ("t.csv", 'video,caption,box\nb.mp4,x,"1,2,3"\n', 'line 2: box "1,2,3": give four'),
        ("t.csv", b"video,caption\nb.mp4,caf\xe9\n", "is no UTF-8 text"),
        ("t.jsonl", '{"video": "b.mp4", "caption": "x"}\n{"video": \n', r"t\.jsonl line 2 is no JSON"),
        ("t.jsonl", '["b.mp4", "x"]', "line 1 is no object"),
        ("t.jsonl", '{"video": "b.mp4"}', "line 1 has no caption"),
        ("t.jsonl", '{"caption": "x"}', "line 1 names no video"),
        ("t.jsonl", '{"video": "b.mp4", "caption": 3}', "line 1: caption must be text, not 3"),
        ("t.jsonl", '{"video": "b.mp4", "caption": "x", "box": [1, 2, 3, "a"]}', "line 1: box"),
        ("t.jsonl", '{"video": "b.mp4", "caption": "x", "box": {"x": 1}}', "line 1: box"),
        ("t.xlsx", "", r"captions come in \.csv or \.jsonl files"),
    ],
)
def test_mistakes_in_a_table_are_named_by_line(videos, name, text, message):
    with pytest.raises(UserError, match=message):
        FolderSource(videos, captions=table(videos, name, text))


def test_masks_under_the_ids(videos, carphone):
    block = np.zeros_like(carphone)
    block[:, 20:80, 30:90] = 255
    masks = videos / "masks"
    (masks / "deep" / "er").mkdir(parents=True)
    write_video(masks / "b.mp4", block, 8.0)
    write_video(f"{masks}/a.v2/", block, 8.0)
    write_video(f"{masks}/deep/er/c/", block, 8.0)
    shutil.copy(masks / "deep" / "er" / "c" / "0000.png", masks / "café.png")
    source = FolderSource(videos, masks=masks)
    assert ids(source) == IDS
    for index, place in ((0, "masks/a.v2"), (1, "masks/b.mp4"), (2, "masks/café.png"), (3, "masks/deep/er/c")):
        assert source[index].info.provenance["masks"] == {"from": place}
        np.testing.assert_array_equal(source[index].masks([0, 3]), block[:2, ..., 0] > 0)
    assert source[4].masks([0]) is None
    assert source[4].info.provenance == {}


def test_a_bad_video_does_not_stand_in_the_way_of_others(videos):
    (videos / "aa.mp4").write_bytes(b"no video")
    source = FolderSource(videos)
    assert len(source) == 6
    bad = source[1]
    with pytest.raises(UserError, match=r"aa\.mp4 cannot be read as a video"):
        _ = bad.info
    assert source[2].info.id == "b"


def test_folders_that_cannot_be_a_source(videos, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no videos"):
        FolderSource(tmp_path / "empty")
    with pytest.raises(UserError, match="none is no folder"):
        FolderSource(tmp_path / "none")
    with pytest.raises(UserError, match="none is no folder"):
        FolderSource(videos, masks=tmp_path / "none")
    with pytest.raises(UserError, match=r"none\.csv: No such file"):
        FolderSource(videos, captions=tmp_path / "none.csv")
    with pytest.raises(UserError, match="fps 0"):
        FolderSource(videos, fps=0.0)
    shutil.copy(videos / "b.mp4", videos / "b.mov")
    with pytest.raises(UserError, match="both have the id b: rename one"):
        FolderSource(videos)


def test_a_config_names_it(videos):
    assert len(open_source({"kind": "folder", "folder": str(videos)})) == 5
    with pytest.raises(ConfigError, match="folder, captions, masks, name, fps"):
        open_source({"kind": "folder", "path": str(videos)})
