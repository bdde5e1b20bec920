"""`edit` from files to files, on the tiny model and a real clip."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from magdiff_jax import UserError, edit
from magdiff_jax.media.masks import masks_in_order
from magdiff_jax.media.video import open_clip, read_video
from magdiff_jax.media.writing import write_video

BOX = "30,20,110,120"


@pytest.fixture
def video(clips: Path) -> Path:
    """A man in a car, 176 x 144."""
    return clips / "carphone_pristine.mp4"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "")
    return tmp_path


def change(model: Path, **flags: Any) -> None:
    given = {"model": model, "prompt": "a man in the snow", "steps": 2, **flags}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not True]
    edit.main([*words, *(f"--{name}" for name, value in given.items() if value is True)])


def test_a_clip_edited_within_a_box_and_its_rerun(
    model_folder: Path, video: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(model_folder, video=video, subject_box=BOX, start=2, stride=3, out="new.mp4", sheet=True)
    assert capsys.readouterr().out.split() == ["new.mp4", "new.json", "new.sheet.png"]
    new = read_video("new.mp4", 4)
    assert new.frames.shape == (4, 16, 16, 3)
    assert new.fps == pytest.approx(read_video(video, 1).fps / 3, rel=0.01)
    record = json.loads(Path("new.json").read_text())
    assert (record["arguments"]["start"], record["arguments"]["stride"]) == (2, 3)
    assert set(record["inputs"]) == {"model", "video"}
    edit.main(["--rerun", "new.json", "--out", "again.mp4"])
    assert Path("again.mp4").read_bytes() == Path("new.mp4").read_bytes()


def test_masks_from_a_folder_a_video_and_one_picture(model_folder: Path, video: Path, folder: Path) -> None:
    # At the video's stored size, of pixels that are not square: it is shown 193 wide.
    frames = np.zeros((4, 144, 176, 3), np.uint8)
    frames[:, 20:140, 44:154] = 255
    write_video("masks", frames, 8.0)
    write_video("masks.gif", frames, 8.0)
    Image.fromarray(frames[0]).save("mask.png")
    for masks in ("masks", "masks.gif", "mask.png"):
        found = np.stack(list(masks_in_order(masks, open_clip(video), range(4))))
        assert found.shape == (4, 144, 193)
        inside = found.any(axis=1)
        assert [(row.argmax(), row.sum()) for row in inside] == [(round(44 * 193 / 176), round(110 * 193 / 176))] * 4
    change(model_folder, video=video, masks="masks", out="folder", fps=12)
    assert sorted(path.name for path in Path("folder").iterdir()) == [f"000{index}.png" for index in range(4)]
    record = json.loads(Path("folder.json").read_text())
    Path("masks/0003.png").unlink()
    with pytest.raises(UserError, match=r"masks has no mask for frame 3 of .*: add 0003\.png"):
        edit.main(["--rerun", "folder.json", "--out", "again"])
    Image.fromarray(frames[0] // 2 * 2).save("masks/0003.png")
    with pytest.raises(UserError, match="masks has changed since the recorded run"):
        edit.main(["--rerun", "folder.json", "--out", "again"])
    assert set(record["inputs"]) == {"model", "video", "masks"}


@pytest.fixture
def sources(folder: Path, video: Path) -> Path:
    """Videos that will not do."""
    write_video("three.mp4", read_video(video, 3).frames, 8.0)
    with av.open("none.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 32
    Path("text.mp4").write_text("no video")
    Path("empty").mkdir()
    Image.fromarray(np.zeros((40, 50), np.uint8)).save("small.png")
    return folder


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"video": "three.mp4"}, "three.mp4 has 3 frames; frames 0, 1, 2, 3 are needed"),
        ({"video": "none.mp4"}, "none.mp4"),
        ({"video": "text.mp4"}, "text.mp4 cannot be read as a video"),
        ({"video": "missing.mp4"}, "missing.mp4 does not exist"),
        ({"video": "empty"}, "empty holds no pictures"),
        ({"start": 10**6}, "has 120 frames"),
        ({"start": -1}, "start -1"),
        ({"stride": 0}, "stride 0"),
        ({"masks": "small.png"}, "small.png is 50x40 but the frames it masks are 193x144"),
        ({"masks": "missing"}, "missing does not exist"),
        ({"masks": "small.png", "subject_box": BOX}, "not allowed with argument"),
        ({"subject_box": BOX, "num_clips": 2}, "unrecognized arguments: --num-clips=2"),
        ({"height": 15, "subject_box": BOX}, "must be multiples of 2"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_mistakes_are_told_and_leave_nothing(
    model_folder: Path, video: Path, sources: Path, flags: dict[str, Any], complaint: str
) -> None:
    before = sorted(sources.iterdir())
    where = {} if {"masks", "subject_box"} & set(flags) else {"subject_box": BOX}
    with pytest.raises(UserError) as caught:
        change(model_folder, **{"video": video, "out": "new.mp4", **where, **flags})
    assert complaint in str(caught.value)
    assert sorted(sources.iterdir()) == before


def test_where_the_subject_is_must_be_said(model_folder: Path, video: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="where is the subject\\? give --masks, --subject-box or --matte"):
        change(model_folder, video=video, out="new.mp4")
