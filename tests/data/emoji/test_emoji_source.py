"""EmojiMotion's clips: pure, independent of size, exact in their masks and parameters."""

import hashlib
import json
import pickle
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from magdiff_jax.data.clip import CATEGORIES
from magdiff_jax.data.emoji import EmojiClip, EmojiMotion
from magdiff_jax.data.emoji.motions import MOTIONS
from magdiff_jax.data.sources import open_source
from magdiff_jax.errors import UserError

ALL = range(8)
# Of 200 clips' parameters. Where a change of the generator is meant, raise its VERSION and put the new digest here.
PARAMETERS = "143dd6af6e7d7f35eca29ad92b5d0f6196b0f89185efeabcae3c4866302ff3f0"

_PRINT_DIGEST = """
import hashlib
from magdiff_jax.data.emoji import EmojiMotion
clip = EmojiMotion("train", 100, 48, seed=5)[7]
frames, masks = clip.frames(range(8)), clip.masks(range(8))
print(hashlib.sha256(frames.tobytes() + masks.tobytes() + clip.info.caption.encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def source() -> EmojiMotion:
    return EmojiMotion("train", 200, 128, seed=1)


@pytest.fixture(scope="module")
def by_motion(source: EmojiMotion) -> dict[str, list[EmojiClip]]:
    clips: dict[str, list[EmojiClip]] = {motion: [] for motion in MOTIONS}
    for index in range(len(source)):
        clip = source[index]
        clips[clip.sample.path.motion].append(clip)
    return {motion: some[:4] for motion, some in clips.items()}


def _centroids(weights: np.ndarray) -> np.ndarray:
    """Of masks or alphas, in pixels, [frame, (x, y)]."""
    rows, columns = np.indices(weights.shape[1:]) + 0.5
    return np.array([[np.average(columns, weights=w), np.average(rows, weights=w)] for w in weights])


def _centres(clip: EmojiClip) -> np.ndarray:
    """Of the drawing's box, in pixels, as the provenance says."""
    info = clip.info
    return np.stack([info.provenance["x"], info.provenance["y"]], axis=-1) * (info.width, info.height)


def test_a_clip_is_the_same_in_every_process() -> None:
    ours = EmojiMotion("train", 9, 48, seed=5)[7]
    text = ours.frames(ALL).tobytes() + ours.masks(ALL).tobytes() + ours.info.caption.encode()
    theirs = subprocess.run([sys.executable, "-c", _PRINT_DIGEST], check=True, capture_output=True, text=True)
    assert hashlib.sha256(text).hexdigest() == theirs.stdout.strip()


@pytest.mark.quick
def test_a_clip_follows_from_seed_split_and_index() -> None:
    first, other = EmojiMotion("train", 50, 32), EmojiMotion("train", 50, 32, seed=1)
    order = np.random.default_rng(0).permutation(50).tolist()
    infos = {index: first[index].info for index in order}
    assert [infos[index] for index in range(50)] == [EmojiMotion("train", 50, 32)[index].info for index in range(50)]
    assert len({info.id for info in infos.values()}) == 50
    assert len({info.caption for info in infos.values()}) > 45
    assert sum(infos[index].label == other[index].info.label for index in range(50)) < 5


def test_parameters_are_those_of_this_version() -> None:
    infos = [
        EmojiMotion(split, 50)[index].info for split in ("train", "validation", "test", "edit") for index in range(50)
    ]
    text = json.dumps([[info.id, info.augmented_caption, info.provenance] for info in infos], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == PARAMETERS


def test_size_changes_nothing_but_the_pixels() -> None:
    small, large = EmojiMotion("test", 12, 64), EmojiMotion("test", 12, 256)
    for index in range(12):
        assert small[index].sample == large[index].sample
        assert small[index].info.provenance == large[index].info.provenance
        few, many = small[index].alphas(ALL), large[index].alphas(ALL)
        shrunk = np.stack([cv2.resize(alpha, (64, 64), interpolation=cv2.INTER_AREA) for alpha in many])
        assert np.abs(shrunk.astype(int) - few).mean() < 3
        shrunk = np.stack([cv2.resize(f, (64, 64), interpolation=cv2.INTER_AREA) for f in large[index].frames(ALL)])
        assert np.abs(shrunk.astype(int) - small[index].frames(ALL)).mean() < 8


def test_masks_move_as_the_provenance_says(by_motion: dict[str, list[EmojiClip]]) -> None:
    for motion in ("left", "right", "up", "down", "bounce", "still"):
        for clip in by_motion[motion]:
            moved, masked, said = _centroids(clip.alphas(ALL)), _centroids(clip.masks(ALL)), _centres(clip)
            np.testing.assert_allclose(moved - moved[0], said - said[0], atol=0.3)
            # Lines of about a pixel come and go in a mask.
            np.testing.assert_allclose(masked - masked[0], said - said[0], atol=1.1)
            way = (moved[-1] - moved[0]) / 128
            if motion in ("left", "right"):
                assert way[0] * (1 if motion == "right" else -1) > 0.25
            elif motion in ("up", "down"):
                assert way[1] * (1 if motion == "down" else -1) > 0.25
            elif motion == "bounce":
                assert np.ptp(moved[:, 1]) / 128 > 0.25
                steps = np.sign(np.diff(moved[:, 1]).round(2))
                assert (np.diff(steps[steps != 0]) != 0).sum() == 3
            else:
                assert np.abs(way).max() == 0


def test_drawings_grow_as_the_provenance_says(by_motion: dict[str, list[EmojiClip]]) -> None:
    for motion in ("grow", "shrink"):
        for clip in by_motion[motion]:
            areas, scale = clip.areas(), np.array(clip.info.provenance["scale"])
            np.testing.assert_allclose(areas / areas.max(), (scale / scale.max()) ** 2, atol=0.04)
            assert (areas[-1] / areas[0] > 2) == (motion == "grow")
            assert max(areas[-1] / areas[0], areas[0] / areas[-1]) > 2


def test_drawings_turn_as_the_provenance_says(by_motion: dict[str, list[EmojiClip]]) -> None:
    for clip in by_motion["spin"]:
        masks, angle = clip.masks(ALL), clip.info.provenance["angle"]
        assert abs(angle[-1]) >= 150
        assert ("counterclockwise" in clip.info.caption) == (angle[-1] < 0)
        x, y = _centres(clip)[0] - 0.5
        # OpenCV's angles are counterclockwise.
        turn = cv2.getRotationMatrix2D((x, y), -angle[3], 1)
        turned = cv2.warpAffine(clip.alphas([0])[0], turn, (128, 128)) >= 128
        assert (turned & masks[3]).sum() / (turned | masks[3]).sum() > 0.9


@pytest.mark.parametrize("size", [64, (48, 96), (90, 50)])
def test_subjects_are_large_and_within_the_frame(size: Any) -> None:
    source = EmojiMotion("validation", 60, size)
    areas = []
    for index in range(len(source)):
        alphas = source[index].alphas(ALL)
        border = np.concatenate([alphas[:, 0], alphas[:, -1], alphas[:, :, 0], alphas[:, :, -1]], axis=1)
        assert border.max() < 64
        areas.append(source[index].areas())
    assert np.max(areas) <= 0.6
    assert np.mean(np.min(areas, axis=1) < 0.05) < 0.1


def test_frames_are_the_drawing_over_the_background() -> None:
    test, edit = EmojiMotion("test", 20, 64), EmojiMotion("edit", 20, 64)
    for index in range(20):
        before, after = test[index], edit[index]
        alphas = before.alphas(ALL)
        inside, outside = alphas == 255, alphas == 0
        np.testing.assert_array_equal(before.frames(ALL)[inside], after.frames(ALL)[inside])
        assert np.abs(before.frames(ALL)[outside].astype(int) - after.frames(ALL)[outside]).max(axis=-1).mean() > 20
        described = before.info.provenance["background"]
        away = np.abs(before.frames(ALL)[outside].astype(int) - described["rgb"]).max(axis=-1)
        assert away.min() <= 1
        assert away.max() <= np.abs(np.subtract(described["rgb"], described["shade_rgb"])).max() + 1


def test_edit_is_test_over_another_background() -> None:
    test, edit = EmojiMotion("test", 60, 32, seed=3), EmojiMotion("edit", 60, 32, seed=3)
    textures = set()
    for index in range(60):
        before, after = test[index].info, edit[index].info
        assert after.provenance["edit_of"] == before.id != after.id
        assert after.provenance["original_background"] == before.provenance["background"]
        background = after.provenance["background"]
        assert background["colour"] != before.provenance["background"]["colour"]
        assert background["colour"] in after.caption
        assert background["texture"] in after.caption
        assert (after.label, after.category) == (before.label, before.category)
        for key in ("subject", "motion", "x", "y", "scale", "angle", "phrasing"):
            assert after.provenance[key] == before.provenance[key]
        np.testing.assert_array_equal(test[index].masks([0, 7]), edit[index].masks([0, 7]))
        textures.add((before.provenance["background"]["texture"], background["texture"]))
    assert len(textures) > 15


def test_frames_may_be_asked_for_in_any_order() -> None:
    source = EmojiMotion("train", 40, 32)
    panning = next(i for i in range(40) if source[i].sample.background.panning in ("right", "down"))
    frames, masks = source[panning].frames(ALL), source[panning].masks(ALL)
    np.testing.assert_array_equal(source[panning].frames([5, 0, 5]), frames[[5, 0, 5]])
    np.testing.assert_array_equal(source[panning].masks([6, 1]), masks[[6, 1]])
    np.testing.assert_array_equal(source[panning].masks(ALL), source[panning].alphas(ALL) >= 128)
    longer = EmojiMotion("train", 40, 32, frames=15)[panning]
    assert longer.info.length == 15
    np.testing.assert_array_equal(longer.frames(range(0, 15, 2)), frames)


def test_all_kinds_of_subjects_motions_and_backgrounds_occur() -> None:
    source = EmojiMotion("train", 500, 32)
    infos = [source[index].info for index in range(500)]
    assert {info.category for info in infos} == set(CATEGORIES)
    assert {info.provenance["motion"] for info in infos} == set(MOTIONS)
    backgrounds = [info.provenance["background"] for info in infos]
    assert len({(background["colour"], background["texture"]) for background in backgrounds}) == 72
    assert {background["panning"] for background in backgrounds} == {"", "left", "right", "up", "down"}
    assert all(not background["panning"] for background in backgrounds if background["texture"] == "plain")
    assert all(info.augmented_caption == f"{info.caption}, {info.label}" for info in infos)
    assert json.loads(json.dumps(infos[0].provenance)) == infos[0].provenance


def test_a_source_travels_to_workers_without_its_pixels() -> None:
    source = open_source({"kind": "emoji_motion", "split": "train", "length": 3, "size": 64})
    before = source[2].frames([0])
    packed = pickle.dumps(source)
    assert len(packed) < 1000
    again = pickle.loads(packed)  # noqa: S301 our own bytes
    np.testing.assert_array_equal(again[2].frames([0]), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "split = 'val': must be one of train, validation, test, edit"),
        ({"length": -1}, "length = -1"),
        ({"size": 8}, "size = 8: must be one or two numbers from 16 to 4096"),
        ({"size": (64, 64, 3)}, "size = "),
        ({"size": 100_000}, "size = 100000"),
        ({"frames": 1}, "frames = 1: must be from 2"),
        ({"seed": -3}, "seed = -3"),
        ({"fps": 0.0}, "fps = 0.0"),
    ],
)
def test_impossible_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EmojiMotion(**{"split": "train", "length": 4} | arguments)


@pytest.mark.parametrize("index", [-1, 4])
def test_there_are_no_clips_outside_of_the_length(index: int) -> None:
    with pytest.raises(IndexError, match="of 4"):
        EmojiMotion("train", 4)[index]
