"""UCF-101: folds, and classes in words."""

from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.sources import open_source
from magdiff_jax.data.sources.ucf101 import Ucf101Source, in_words
from magdiff_jax.errors import UserError
from tests.data.trees import carphone, copy, make_ucf101


@pytest.fixture(scope="module")
def ucf101(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ucf101(tmp_path_factory.mktemp("ucf101"), clips)


def test_folds_divide_the_videos_in_their_own_way(ucf101: Path) -> None:
    ids = {}
    for fold in (1, 2):
        for split in ("train", "test"):
            source = Ucf101Source(ucf101, split, fold)
            ids[fold, split] = [source[index].info.id for index in range(len(source))]
    assert ids[1, "train"] == ids[2, "test"] == ["v_ApplyEyeMakeup_g08_c01", "v_HandStandPushups_g08_c01"]
    assert ids[1, "test"] == ids[2, "train"] == ["v_ApplyEyeMakeup_g01_c01", "v_HandStandPushups_g01_c01"]


def test_a_clip_has_its_action_as_caption(ucf101: Path, clips: Path) -> None:
    source = open_source({"kind": "ucf101", "folder": str(ucf101), "split": "test"})
    clip = source[1]
    info = clip.info
    assert (info.source, info.caption, info.augmented_caption) == ("ucf101", "handstand pushups", "handstand pushups")
    assert (info.length, info.height, info.width, info.fps, info.label) == (3, 144, 176, 25.0, "")
    assert (info.provenance["class"], info.provenance["class_number"]) == ("HandstandPushups", 42)
    assert np.abs(clip.frames([1])[0].astype(int) - carphone(clips, 1, 12)[0]).mean() < 6
    assert clip.masks([0]) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("Archery", "archery"),
        ("CleanAndJerk", "clean and jerk"),
        ("YoYo", "yo yo"),
        ("TaiChi", "tai chi"),
    ],
)
def test_names_in_words(name: str, words: str) -> None:
    assert in_words(name) == words


def test_wrong_values_and_folders_are_told(ucf101: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="split 'val', fold 1"):
        Ucf101Source(ucf101, "val")
    with pytest.raises(ConfigError, match="fold 4"):
        Ucf101Source(ucf101, fold=4)
    with pytest.raises(UserError, match=r"lacks UCF-101's videos \(UCF-101\): unpack UCF101\.rar"):
        Ucf101Source(tmp_path)
    with pytest.raises(UserError, match=r"testlist03\.txt: No such file"):
        Ucf101Source(ucf101, "test", fold=3)
    tree = copy(ucf101, tmp_path / "ucf101")
    lists = tree / "ucfTrainTestlist"
    for line, message in (
        ("ApplyEyeMakeup/../../v.avi 1", "names no place within"),
        ("Archery/v_Archery_g01_c01.avi 3", "lists Archery/v_Archery"),
        ("", "lists no videos"),
    ):
        (lists / "trainlist01.txt").write_text(line)
        with pytest.raises(UserError, match=message):
            Ucf101Source(tree)
    (lists / "trainlist01.txt").write_text("ApplyEyeMakeup/v_ApplyEyeMakeup_g09_c01.avi 1")
    with pytest.raises(UserError, match="does not exist"):
        _ = Ucf101Source(tree)[0].info
    (lists / "classInd.txt").write_text("ApplyEyeMakeup\n")
    with pytest.raises(UserError, match="is no list of numbers and classes"):
        Ucf101Source(tree)
