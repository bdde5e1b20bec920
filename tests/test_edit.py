"""`edit` from files to files, on the tiny model and a real clip."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from magdiff_jax import UserError, edit
from magdiff_jax.conditioning import Shape
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
    edit.main([*words, *(f"--{name.replace('_', '-')}" for name, value in given.items() if value is True)])


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


def sound(path: Path, start: float, end: float) -> np.ndarray:
    """What is heard of a file, by FFmpeg's decoder, [sample, channel]."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        heard = np.zeros((round((end - start) * rate), stream.codec_context.channels), np.float32)
        for frame in container.decode(stream):
            samples = frame.to_ndarray().T
            first = round((frame.time - start) * rate)
            begin, stop = max(first, 0), min(first + len(samples), len(heard))
            if begin < stop:
                heard[begin:stop] = samples[begin - first : stop - first]
    return heard


def test_a_whole_video_with_its_sound_shape_and_subject(model_folder: Path, clips: Path, folder: Path) -> None:
    """Ten frames, in windows of four, of a film with sound."""
    bunny = clips / "bigbuckbunny.mp4"
    source = read_video(bunny, 10, 20, 2)
    mask = np.zeros((720, 1280), np.uint8)
    mask[200:600, 300:700] = 255
    Image.fromarray(mask).save("mask.png")
    flags: dict[str, Any] = {"video": bunny, "masks": "mask.png", "start": 20, "stride": 2}
    change(model_folder, **flags, frames=10, fit="letterbox", keep_subject=True, out="kept.mp4", sheet=True)
    kept = read_video("kept.mp4", 10)
    assert kept.frames.shape == (10, 720, 1280, 3)
    assert kept.fps == pytest.approx(25 / 2)
    inner = np.s_[:, 220:580, 320:680]
    assert np.abs(kept.frames[inner].astype(int) - source.frames[inner]).mean() < 3
    assert np.abs(kept.frames[:, :, 900:].astype(int) - source.frames[:, :, 900:]).mean() > 15
    with pytest.raises(UserError, match="has 10 frames"):
        read_video("kept.mp4", 11)
    expected, heard = sound(bunny, 20 / 25, 40 / 25), sound(Path("kept.mp4"), 0, 20 / 25)
    assert np.abs(expected).max() > 0.01
    # But for the first packet, before which the copy's decoder has heard nothing.
    np.testing.assert_allclose(heard[2048:-2048], expected[2048:-2048], atol=1e-6)
    record = json.loads(Path("kept.json").read_text())
    assert (record["arguments"]["frames"], record["arguments"]["keep_subject"]) == (10, True)
    edit.main(["--rerun", "kept.json", "--out", "again.mp4"])
    assert Path("again.mp4").read_bytes() == Path("kept.mp4").read_bytes()
    change(model_folder, **flags, frames=5, fit="stretch", out="stretched", fps=12)
    assert read_video("stretched", 5).frames.shape == (5, 720, 1280, 3)
    change(model_folder, **flags, keep_subject=True, out="part.gif")
    assert read_video("part.gif", 4).frames.shape == (4, 720, 720, 3)


def test_all_frames_of_requests(model_folder: Path, video: Path, folder: Path) -> None:
    write_video("ten.mp4", read_video(video, 10).frames, 8.0)
    write_video("damaged", read_video(video, 20).frames, 8.0)
    Path("damaged/0002.png").write_bytes(Path("damaged/0002.png").read_bytes()[:2000])
    Image.fromarray(np.full((144, 193), 255, np.uint8)).save("white.png")
    lines = [
        {"id": "damaged", "video": "damaged", "frames": "all", "masks": "white.png"},
        {"id": "all", "video": "ten.mp4", "frames": "all", "keep_subject": True},
        {"id": "few", "video": str(video)},
        {"id": "rest", "video": "ten.mp4", "frames": "all", "start": 3},
        {"id": "wrong", "video": "ten.mp4", "frames": "all", "start": 12},
    ]
    lines = [line if "masks" in line else {**line, "subject_box": BOX} for line in lines]
    text = "".join(json.dumps({"prompt": "a man in the snow", **line}) + "\n" for line in lines)
    Path("requests.jsonl").write_text(text)
    words = [f"--model={model_folder}", "--steps=2", "--requests=requests.jsonl", "--out=made"]
    with pytest.raises(UserError, match="2 of 5 requests failed"):
        edit.main(words)
    assert [len(read_all(Path(f"made/{name}.mp4"))) for name in ("all", "few", "rest")] == [10, 4, 7]
    failed = Path("made/failed.jsonl").read_text()
    assert "ten.mp4 has 10 frames" in failed
    assert "0002.png cannot be read as a picture" in failed
    assert not list(Path("made").glob("damaged*"))


def read_all(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_frames_without_the_subject_keep_nothing(model_folder: Path, video: Path, folder: Path) -> None:
    frames = np.zeros((10, 144, 193, 3), np.uint8)
    frames[:6, 20:140, 44:154] = 255
    write_video("masks", frames, 8.0)
    flags = {"video": video, "masks": "masks", "frames": 10}
    with pytest.warns(UserWarning, match="no subject in frame 6, 7, 8, 9: nothing is kept there"):
        change(model_folder, **flags, out="new", keep_subject=True)
    words = [f"--{name}={value}" for name, value in flags.items()]
    args = edit.make_parser().parse_args([*words, "--prompt=a man", "--out=new", "--sheet"])
    with pytest.warns(UserWarning, match="nothing is kept there"):
        source = edit.read(args, Shape(4, 32, 32))
    assert source.footage is not None
    assert source.shown is not None
    black = np.stack([frame for frame, _ in source.footage.read()])[6:]
    assert not black.any()
    np.testing.assert_array_equal(source.shown.frames[6:], read_video(video, 4, 6).frames)
    assert not source.shown.masks[6:].any()
    write_video("masks-none", np.zeros_like(frames), 8.0)
    with (
        pytest.warns(UserWarning, match="no subject in any frame: the whole frames"),
        pytest.warns(UserWarning, match="masks-none has no subject"),
    ):
        change(model_folder, **{**flags, "masks": "masks-none"}, out="none")
