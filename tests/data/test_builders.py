"""The TFDS builders of the public sets: a tree as people have it becomes records."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import skimage.data
import tensorflow_datasets as tfds

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.records import RecordSource
from magdiff_jax.data.sources.davis import DavisSource
from magdiff_jax.media.writing import write_video
from tests.data import trees

BUILDERS = Path(__file__).parents[2] / "data"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"builder_of_{name}", BUILDERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # They register themselves for `tfds.builder`, once in a process.
    with tfds.core.registered.skip_registration():
        spec.loader.exec_module(module)
    return module


def _build(builder: ClipBuilder, manual_dir: Path) -> Path:
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return Path(builder.data_dir)


def test_davis_keeps_its_masks(clips: Path, tmp_path: Path) -> None:
    trees.make_davis(tmp_path / "manual" / "DAVIS", clips)
    builder = _load("davis").DavisClips(data_dir=tmp_path / "out", config="2017_480p")
    folder = _build(builder, tmp_path / "manual")
    assert folder == tmp_path / "out" / "davis_clips" / "2017_480p" / "1.0.0"
    for split in ("train", "val"):
        original, written = DavisSource(tmp_path / "manual", split)[0], RecordSource(folder, split)[0]
        assert written.info == original.info
        indices = range(original.info.length)
        np.testing.assert_array_equal(written.masks(indices), original.masks(indices))
        assert np.abs(written.frames(indices).astype(int) - original.frames(indices)).mean() < 1.5


def test_ucf101_has_a_config_for_each_fold(clips: Path, tmp_path: Path) -> None:
    trees.make_ucf101(tmp_path / "manual", clips)
    cls = _load("ucf101").Ucf101Clips
    assert list(cls.builder_configs) == ["fold1", "fold2", "fold3"]
    folder = _build(cls(data_dir=tmp_path / "out", config="fold2"), tmp_path / "manual")
    source = RecordSource(folder, "train")
    assert {source[index].info.id for index in range(2)} == {"v_ApplyEyeMakeup_g01_c01", "v_HandStandPushups_g01_c01"}


def test_msrvtt_dreambooth_and_annotations(clips: Path, tmp_path: Path) -> None:
    trees.make_msrvtt(tmp_path / "msrvtt", clips)
    trees.make_dreambooth(tmp_path / "dreambooth", skimage.data.chelsea())
    trees.make_annotations(tmp_path / "annotations", clips)
    for name, cls, sizes in (
        ("msrvtt", "MsrvttClips", {"train": 1, "validate": 1, "test": 1}),
        ("dreambooth", "DreamboothClips", {"test": 3}),
        ("annotations", "AnnotationsClips", {"train": 3}),
    ):
        folder = _build(getattr(_load(name), cls)(data_dir=tmp_path / "out"), tmp_path / name)
        assert {split: len(RecordSource(folder, split)) for split in sizes} == sizes


def test_a_folder_with_captions_and_masks(clips: Path, tmp_path: Path) -> None:
    manual, labels = tmp_path / "manual", trees.two_objects(3) > 0
    (manual / "videos").mkdir(parents=True)
    write_video(manual / "videos" / "drive.mp4", trees.carphone(clips, 3), 25.0)
    (manual / "masks").mkdir()
    write_video(manual / "masks" / "drive", np.repeat(labels[..., None], 3, axis=-1).astype(np.uint8) * 255, 25.0)
    (manual / "captions.csv").write_text("video,caption\ndrive.mp4,a man drives\n")
    clip = RecordSource(_build(_load("folder").FolderClips(data_dir=tmp_path / "out"), manual))[0]
    assert (clip.info.id, clip.info.caption) == ("drive", "a man drives")
    np.testing.assert_array_equal(clip.masks(range(3)), labels)


@pytest.mark.parametrize("name", ["msrvtt", "ucf101", "davis", "dreambooth", "annotations", "folder"])
def test_builders_say_what_they_are(name: str, tmp_path: Path) -> None:
    (cls,) = [
        cls
        for cls in vars(_load(name)).values()
        if isinstance(cls, type) and issubclass(cls, ClipBuilder) and cls is not ClipBuilder
    ]
    info = cls(data_dir=tmp_path).info
    assert info.description
    assert "manual_dir" in cls.MANUAL_DOWNLOAD_INSTRUCTIONS
    assert info.redistribution_info.license
    if name not in ("annotations", "folder"):
        assert info.homepage.startswith("https://")
        assert info.citation.count("{") == info.citation.count("}") > 3
        assert info.citation.startswith("@")
    # TFDS has data sets of its own under the plain names.
    assert info.name not in ("ucf101", "davis")
