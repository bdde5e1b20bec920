"""DAVIS: lists of both years, masks by object number, captions from a file."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magdiff_jax.config import ConfigError
from magdiff_jax.data.sources import open_source
from magdiff_jax.data.sources.davis import DavisSource
from magdiff_jax.data.sources.pictures import read_labels
from magdiff_jax.errors import UserError
from tests.data.trees import carphone, copy, make_davis, two_objects


@pytest.fixture(scope="module")
def davis(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_davis(tmp_path_factory.mktemp("davis"), clips)


def test_frames_and_masks_are_those_of_the_files(davis: Path, clips: Path) -> None:
    source = open_source({"kind": "davis", "folder": str(davis), "split": "train"})
    assert len(source) == 1
    clip = source[0]
    info = clip.info
    assert (info.id, info.source, info.caption, info.label) == ("bmx-trees", "davis2017", "bmx trees", "")
    assert (info.length, info.height, info.width, info.fps) == (4, 144, 176, 24.0)
    expected = carphone(clips, 4)
    frames = clip.frames([3, 0, 0])
    # The files are JPEGs with halved chroma.
    assert np.abs(frames.astype(int) - expected[[3, 0, 0]]).mean() < 3
    assert not np.array_equal(frames[0], frames[1])
    labels = two_objects(4)
    subject = (labels == 1) | (labels == 2)  # void is none of the subject
    masks, areas = clip.masks([2, 1]), clip.areas()
    assert masks is not None
    assert areas is not None
    np.testing.assert_array_equal(masks, subject[[2, 1]])
    np.testing.assert_allclose(areas, subject.mean(axis=(1, 2)), rtol=1e-6)
    assert areas.dtype == np.float32


@pytest.mark.parametrize("number", [1, 2])
def test_one_object_can_be_the_subject(davis: Path, number: int) -> None:
    clip = DavisSource(davis, object_id=number)[0]
    np.testing.assert_array_equal(clip.masks(range(4)), two_objects(4) == number)
    assert clip.info.id == f"bmx-trees/{number}"


def test_objects_of_high_number_and_dark_colours_count(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 8, 255]], np.uint8), "P")
    picture.putpalette([0, 0, 0] * 8 + [64, 0, 0] + [0, 0, 0] * 247)
    picture.save(tmp_path / "0.png")
    assert read_labels(tmp_path / "0.png").tolist() == [[0, 8, 0]]


@pytest.mark.parametrize(
    ("mode", "pixels", "labels"),
    [
        ("L", [[0, 255]], [[0, 1]]),
        ("L", [[0, 2]], [[0, 2]]),
        ("1", [[False, True]], [[0, 1]]),
        ("RGB", [[[0, 0, 0], [0, 7, 0]]], [[0, 1]]),
    ],
)
def test_masks_without_a_palette(tmp_path: Path, mode: str, pixels: list, labels: list) -> None:
    kind = bool if mode == "1" else np.uint8
    Image.fromarray(np.array(pixels, kind)).save(tmp_path / "0.png")
    with Image.open(tmp_path / "0.png") as image:
        assert image.mode == mode
    assert read_labels(tmp_path / "0.png").tolist() == labels


def test_both_years_and_both_forms_of_lists(davis: Path, tmp_path: Path) -> None:
    assert DavisSource(davis, "val", year=2016)[0].info.id == "dog"
    older = copy(davis, tmp_path / "DAVIS")
    pairs = [f"/JPEGImages/480p/dog/{n:05}.jpg /Annotations/480p/dog/{n:05}.png " for n in range(3)]
    (older / "ImageSets" / "2016" / "val.txt").unlink()
    (older / "ImageSets" / "480p").mkdir()
    (older / "ImageSets" / "480p" / "val.txt").write_text("\n".join(pairs))
    # The folder above is as good as DAVIS itself.
    source = DavisSource(tmp_path, "val", year=2016)
    assert [source[index].info.id for index in range(len(source))] == ["dog"]


def test_captions_from_a_file(davis: Path, tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("video,caption,label,category\nbmx-trees,ein Mann fährt,Mann,person\n", encoding="utf-8")
    info = DavisSource(davis, captions=table)[0].info
    assert (info.caption, info.augmented_caption) == ("ein Mann fährt", "ein Mann fährt")
    assert (info.label, info.category) == ("Mann", "person")
    with pytest.raises(UserError, match="no row for dog"):
        DavisSource(davis, "val", captions=table)


def test_a_pickled_source_reads_the_same(davis: Path) -> None:
    source = DavisSource(davis)
    source[0].frames([0])
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 our own bytes
    np.testing.assert_array_equal(again[0].frames([1]), source[0].frames([1]))


def test_wrong_values_and_folders_are_told(davis: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2016 or 2017"):
        DavisSource(davis, year=2018)
    with pytest.raises(ConfigError, match="object_id 0"):
        DavisSource(davis, object_id=0)
    with pytest.raises(UserError, match=r"lacks DAVIS's frames \(JPEGImages/480p\): unpack DAVIS-2017"):
        DavisSource(tmp_path)
    with pytest.raises(UserError, match="test-dev"):
        DavisSource(davis, "test-dev")
    with pytest.raises(UserError, match=r"JPEGImages/1080p"):
        DavisSource(davis, resolution="1080p")


@pytest.mark.parametrize("line", ["..", "/etc", "../../passwd"])
def test_a_list_names_no_place_outside(davis: Path, tmp_path: Path, line: str) -> None:
    tree = copy(davis, tmp_path / "davis")
    (tree / "ImageSets" / "2017" / "val.txt").write_text(line)
    with pytest.raises(UserError, match="names no place within"):
        _ = DavisSource(tree, "val")[0]


def test_a_sequence_with_too_few_or_other_masks_is_told(davis: Path, tmp_path: Path) -> None:
    tree = copy(davis, tmp_path / "davis")
    labels = tree / "Annotations" / "480p" / "dog"
    (labels / "00002.png").unlink()
    clip = DavisSource(tree, "val")[0]
    assert clip.masks([0, 1]) is not None
    with pytest.raises(UserError, match=r"no mask for 00002\.jpg"):
        clip.masks([2])
    Image.new("L", (88, 72)).save(labels / "00002.png")
    with pytest.raises(UserError, match="is 88x72 but frame 0 of its clip is 176x144"):
        DavisSource(tree, "val")[0].masks([2])
    (labels / "00002.png").write_bytes((labels / "00001.png").read_bytes()[:60])
    with pytest.raises(UserError, match="cannot be read"):
        DavisSource(tree, "val")[0].masks([2])
    for picture in (tree / "JPEGImages" / "480p" / "dog").iterdir():
        picture.unlink()
    with pytest.raises(UserError, match="no numbered pictures"):
        _ = DavisSource(tree, "val")[0].info
