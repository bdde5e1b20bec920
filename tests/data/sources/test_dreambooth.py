"""The DreamBooth subjects: pictures as clips of one frame, classes as labels, prompts by kind."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from magdiff_jax.data.sources import open_source
from magdiff_jax.data.sources.dreambooth import DreamBoothSource, read_classes, read_prompts
from magdiff_jax.errors import UserError
from tests.data.trees import copy, make_dreambooth


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dreambooth(tmp_path_factory.mktemp("dreambooth"), skimage.data.chelsea())


def test_each_picture_is_a_clip_of_one_frame(repository: Path) -> None:
    source = open_source({"kind": "dreambooth", "folder": str(repository)})
    infos = [source[index].info for index in range(len(source))]
    assert [(info.id, info.label, info.category) for info in infos] == [
        ("cat2/00", "cat", "animal"),
        ("cat2/03", "cat", "animal"),
        ("wolf_plushie/00", "stuffed animal", "object"),
    ]
    assert [(info.length, info.height, info.width) for info in infos] == [(1, 300, 451), (1, 200, 300), (1, 300, 451)]
    assert infos[2].caption == "a photo of a stuffed animal"
    assert infos[0].provenance["subject"] == "cat2"
    assert np.abs(source[0].frames([0])[0].astype(int) - skimage.data.chelsea()).mean() < 3
    assert source[0].masks([0]) is None
    assert len(DreamBoothSource(repository / "dataset")) == 3


def test_live_subjects_and_objects_have_prompts_of_their_own(repository: Path) -> None:
    assert read_classes(repository) == {"cat2": "cat", "wolf_plushie": "stuffed animal"}
    assert read_prompts(repository, "cat2") == [
        "a cat in the jungle",
        "a cat wearing a red hat",
        "a cat in a chef outfit",
    ]
    assert read_prompts(repository, "wolf_plushie") == [
        "a stuffed animal in the jungle",
        "a cube shaped stuffed animal",
    ]


def test_wrong_subjects_and_folders_are_told(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'cat' is no DreamBooth subject; there are cat2, wolf_plushie"):
        read_prompts(repository, "cat")
    with pytest.raises(UserError, match=r"prompts_and_classes\.txt.*: clone github"):
        DreamBoothSource(tmp_path)
    tree = copy(repository, tmp_path / "copy") / "dataset"
    (tree / "wolf_plushie" / "00.jpg").unlink()
    with pytest.raises(UserError, match="wolf_plushie holds no pictures"):
        DreamBoothSource(tree)
    path = tree / "prompts_and_classes.txt"
    path.write_text("Classes\nsubject_name,class\n../cat2,cat\n")
    with pytest.raises(UserError, match="names no place within"):
        DreamBoothSource(tree)
    with pytest.raises(UserError, match="lists no prompts"):
        read_prompts(tree, "../cat2")
    path.write_text("no classes here\n")
    with pytest.raises(UserError, match="lists no classes"):
        DreamBoothSource(tree)
