"""MSR-VTT: its original layout and that of one folder, captions by number."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.sources import open_source
from magdiff_jax.data.sources.msrvtt import MsrVttSource
from magdiff_jax.errors import UserError
from tests.data.trees import carphone, copy, make_msrvtt


@pytest.fixture(scope="module")
def msrvtt(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_msrvtt(tmp_path_factory.mktemp("msrvtt"), clips)


@pytest.mark.parametrize(("split", "video"), [("train", 0), ("validate", 1), ("test", 2)])
def test_each_split_has_its_videos_and_first_captions(msrvtt: Path, clips: Path, split: str, video: int) -> None:
    source = open_source({"kind": "msrvtt", "folder": str(msrvtt), "split": split})
    assert len(source) == 1
    clip = source[0]
    info = clip.info
    assert (info.id, info.source, info.category) == (f"video{video}", "msrvtt", "other")
    assert (info.length, info.height, info.width, info.fps) == (4, 144, 176, 15.0)
    assert info.caption == info.augmented_caption == f"caption 0 of video {video}"
    assert info.provenance["other_captions"] == [f"caption {n} of video {video}" for n in (1, 2)]
    assert (info.provenance["category"], info.provenance["seconds"]) == (9, [1.5, 11.5])
    assert np.abs(clip.frames([2])[0].astype(int) - carphone(clips, 1, 20 * video + 2)[0]).mean() < 3
    assert clip.masks([0]) is None


def test_one_folder_and_one_file_for_all_splits(msrvtt: Path, tmp_path: Path) -> None:
    (tmp_path / "videos" / "all").mkdir(parents=True)
    (tmp_path / "annotation").mkdir()
    for path in msrvtt.glob("*/*.mp4"):
        shutil.copy(path, tmp_path / "videos" / "all")
    parts = [json.loads(path.read_text()) for path in msrvtt.glob("*.json")]
    whole = {key: [item for part in parts for item in part[key]] for key in ("videos", "sentences")}
    (tmp_path / "annotation" / "MSRVTT_data.json").write_text(json.dumps(whole))
    for split, name in (("train", "video0"), ("validate", "video1"), ("test", "video2")):
        source = MsrVttSource(tmp_path, split)
        assert [source[index].info.id for index in range(len(source))] == [name]


def test_another_caption_can_be_taken(msrvtt: Path) -> None:
    info = MsrVttSource(msrvtt, caption=2)[0].info
    assert info.caption == "caption 2 of video 0"
    assert info.provenance["other_captions"] == ["caption 0 of video 0", "caption 1 of video 0"]
    with pytest.raises(UserError, match="video0 has 3 captions: caption 3 is not there"):
        MsrVttSource(msrvtt, caption=3)


def test_a_video_that_is_not_there_is_told_when_it_is_read(msrvtt: Path, tmp_path: Path) -> None:
    tree = copy(msrvtt, tmp_path / "msrvtt")
    (tree / "TestVideo" / "video2.mp4").unlink()
    clip = MsrVttSource(tree, "test")[0]
    with pytest.raises(UserError, match=r"video2\.mp4 does not exist"):
        clip.frames([0])


def test_wrong_values_and_folders_are_told(msrvtt: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be one of train, validate, test"):
        MsrVttSource(msrvtt, "val")
    with pytest.raises(ConfigError, match="at least 0"):
        MsrVttSource(msrvtt, caption=-1)
    with pytest.raises(
        UserError, match=r"lacks MSR-VTT's videos \(TestVideo or videos/all or videos\): put the videos"
    ):
        MsrVttSource(tmp_path, "test")
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match="lacks MSR-VTT's annotations"):
        MsrVttSource(tmp_path)
    path = tmp_path / "train_val_videodatainfo.json"
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "is no MSR-VTT annotation"),
        ('{"videos": [{"id": 1}], "sentences": []}', "is no MSR-VTT annotation"),
        ('{"videos": [], "sentences": []}', "has no videos of split 'train'"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            MsrVttSource(tmp_path)
    values = json.loads((msrvtt / path.name).read_text().replace("video0", "../video0"))
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="names no place within"):
        MsrVttSource(tmp_path)
