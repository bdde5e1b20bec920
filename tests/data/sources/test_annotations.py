"""The layout of the released code: frames picked by position, masks by number, several captions."""

import json
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.sources import open_source
from magdiff_jax.data.sources.annotations import AnnotationsSource
from magdiff_jax.errors import UserError
from tests.data.trees import carphone, copy, make_annotations, two_objects


@pytest.fixture(scope="module")
def tree(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_annotations(tmp_path_factory.mktemp("annotations"), clips)


def test_coordinates_pick_frames_in_the_order_of_their_numbers(tree: Path, clips: Path) -> None:
    source = open_source({"kind": "annotations", "folder": str(tree), "fps": 12.0})
    assert len(source) == 3
    clip = source[0]
    assert (clip.info.length, clip.info.height, clip.info.width, clip.info.fps) == (6, 144, 176, 12.0)
    assert (clip.info.caption, clip.info.augmented_caption) == ("a man talks, man", "a man talks, man")
    # frame_10.jpg to frame_12.jpg follow on frame_9.jpg, which a sort by name would put after them.
    chosen = [0, 1, 2, 9, 10, 11]
    expected = carphone(clips, 12)
    errors = np.abs(clip.frames(range(6))[:, None].astype(int) - expected[None]).mean(axis=(2, 3, 4))
    assert errors.argmin(axis=1).tolist() == chosen
    masks = clip.masks([5, 1])
    np.testing.assert_array_equal(masks, two_objects(12)[[11, 1]] == 1)
    assert clip.info.provenance["frames"] == chosen


def test_one_of_several_captions_is_taken_and_the_others_are_kept(tree: Path) -> None:
    first, second = AnnotationsSource(tree)[1].info, AnnotationsSource(tree, caption=1)[1].info
    assert (first.caption, first.provenance["other_captions"]) == ("a man", ["ein Mann fährt"])
    assert (second.caption, second.provenance["other_captions"]) == ("ein Mann fährt", ["a man"])
    assert AnnotationsSource(tree, caption=1)[0].info.caption == "a man talks, man"


def test_a_video_without_masks_has_a_null_mask_and_ids_differ(tree: Path) -> None:
    source = AnnotationsSource(tree)
    assert source[2].masks([0]) is None
    assert source[2].areas() is None
    assert len({source[index].info.id for index in range(3)}) == 3


def test_without_coordinates_the_clip_is_the_whole_video(tree: Path, tmp_path: Path) -> None:
    changed = copy(tree, tmp_path / "tree")
    (changed / "annotations.jsonl").write_text('{"vid": "1001", "tar": "part0", "text": "a man"}\n\n')
    source = AnnotationsSource(changed)
    assert len(source) == 1
    assert source[0].info.length == 12


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "annotation 0 is no JSON"),
        ("[]", "annotation 0: its lines have vid, tar, text and coordinates"),
        ({"vid": "1001", "tar": "part0"}, "vid, tar, text"),
        ({"vid": 1001, "tar": "part0", "text": "a"}, "must be names"),
        ({"vid": "1001", "tar": "part0", "text": []}, "a caption or a list"),
        ({"vid": "1001", "tar": "part0", "text": "a", "coordinates": [0.5]}, "positions of frames"),
        ({"vid": "1001", "tar": "part0", "text": "a", "coordinates": []}, "positions of frames"),
        ({"vid": "1001", "tar": "part0", "text": "a", "coordinates": [3, 12]}, "has 12 pictures: frames 3, 12"),
        ({"vid": "1001", "tar": "part0", "text": "a", "coordinates": [-1]}, "has 12 pictures: frames -1"),
        ({"vid": "../1001", "tar": "part0", "text": "a"}, "names no place within"),
        ({"vid": "1001", "tar": "/etc", "text": "a"}, "names no place within"),
        ({"vid": "1003", "tar": "part0", "text": "a"}, "No such file"),
    ],
)
def test_a_wrong_line_is_told(tree: Path, tmp_path: Path, line: str | dict, message: str) -> None:
    for name in ("videos", "mask"):
        (tmp_path / name).symlink_to(tree / name)
    (tmp_path / "annotations.jsonl").write_text(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(UserError, match=message):
        AnnotationsSource(tmp_path)[0].frames([0])


def test_wrong_values_and_folders_are_told(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks the annotations \(annotations\.jsonl\)"):
        AnnotationsSource(tmp_path)
    with pytest.raises(UserError, match="lacks the annotations"):
        AnnotationsSource(tree, annotations="train.jsonl")
    (tmp_path / "annotations.jsonl").write_text("{}")
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match="lacks the folder of masks"):
        AnnotationsSource(tmp_path)
    with pytest.raises(ConfigError, match="caption -1"):
        AnnotationsSource(tree, caption=-1)
    with pytest.raises(ConfigError, match="fps 0"):
        AnnotationsSource(tree, fps=0.0)
