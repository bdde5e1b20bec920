import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Clip, ClipInfo, DecodedClip, Frames
from magdiff_jax.data.files import open_clip
from magdiff_jax.data.prepare import cut as cutting
from magdiff_jax.data.prepare.cut import CutConfig, Part, cut, parts
from magdiff_jax.data.prepare.stages import Rejected
from magdiff_jax.errors import UserError
from magdiff_jax.media.video import read_video


def numbered(length: int, fps: float, height: int = 4, width: int = 6, masked: bool = True) -> DecodedClip:
    """A clip whose frame i has the value i everywhere, and a mask where i is odd."""
    numbers = np.arange(length, dtype=np.uint8)[:, None, None]
    frames = np.broadcast_to(numbers[..., None], (length, height, width, 3)).copy()
    masks = np.broadcast_to(numbers % 2 == 1, (length, height, width)).copy() if masked else None
    provenance = {"caption": "mine"}
    return DecodedClip(ClipInfo("a/b", "test", length, height, width, fps, "hi", provenance=provenance), frames, masks)


def cut_all(clip: Clip, config: CutConfig) -> list[DecodedClip]:
    return [cut(clip, part, config) for part in parts(clip.info, config)]


def of_values(clip: DecodedClip) -> list[int]:
    return clip.all_frames[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("source_fps", "fps", "expected"),
    [
        (8.0, 8.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (4.0, 8.0, [0, 1, 2, 3]),
        (24.0, 8.0, [0, 3, 6, 9, 12, 15, 18, 21]),
        (25.0, 10.0, [0, 2, 5, 7, 10, 12, 15, 17, 20, 22]),
        (30000 / 1001, 10000 / 1001, [0, 3, 6, 9, 12, 15, 18, 21, 24]),
        (30.0, 0.5, [0]),
    ],
)
def test_frames_are_those_shown_at_their_time(source_fps: float, fps: float, expected: list[int]):
    config = CutConfig(seconds=1, fps=fps, least_frames=1)
    (clip,) = cut_all(numbered(100, source_fps), config)
    assert of_values(clip) == expected
    assert clip.info.fps == min(source_fps, fps)
    assert clip.info.length == len(expected)
    assert clip.all_masks is not None
    assert clip.all_masks[:, 0, 0].tolist() == [value % 2 == 1 for value in expected]
    assert (clip.info.id, clip.info.caption) == ("a/b", "hi")
    assert clip.info.provenance == {"caption": "mine", "cut": {"start": 0.0, "fps": source_fps, "size": [4, 6]}}


def test_a_long_video_makes_one_clip_or_all_its_parts():
    video = numbered(25, 10.0)
    config = CutConfig(seconds=1, fps=5, least_frames=3)
    (first,) = cut_all(video, config)
    assert (first.info.id, of_values(first)) == ("a/b", [0, 2, 4, 6, 8])
    all_of_it = cut_all(video, dataclasses.replace(config, all_parts=True))
    assert [part.info.id for part in all_of_it] == ["a/b/0001", "a/b/0002", "a/b/0003"]
    assert [of_values(part) for part in all_of_it] == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18], [20, 22, 24]]
    assert [part.info.provenance["cut"]["start"] for part in all_of_it] == [0, 1, 2]
    (whole,) = cut_all(video, CutConfig(seconds=5, fps=5, all_parts=True))
    assert whole.info.id == "a/b"


def test_a_rest_that_is_too_short_is_rejected_alone():
    video, config = numbered(12, 5.0), CutConfig(seconds=1, fps=5, least_frames=3, all_parts=True)
    planned = parts(video.info, config)
    assert planned == [Part("a/b/0001", 0, 5), Part("a/b/0002", 5, 5), Part("a/b/0003", 10, 2)]
    assert of_values(cut(video, planned[1], config)) == [5, 6, 7, 8, 9]
    with pytest.raises(Rejected, match="2 frames at 5 fps, under 3") as caught:
        cut(video, planned[2], config)
    assert caught.value.rule == "too_short"


@pytest.mark.parametrize("length", [0, 7])
def test_a_short_video_is_rejected(length: int):
    with pytest.raises(Rejected) as caught:
        cut_all(numbered(length, 8.0), CutConfig())
    assert caught.value.rule == "too_short"


def test_a_picture_is_a_clip_where_one_frame_is_enough():
    (clip,) = cut_all(numbered(1, 8.0, masked=False), CutConfig(least_frames=1))
    assert (clip.info.length, clip.all_masks) == (1, None)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(64, 100, (32, 50)), (100, 64, (50, 32)), (33, 65, (32, 63)), (32, 90, (32, 90)), (16, 90, (16, 90))],
)
def test_large_frames_are_scaled_down_and_small_ones_stay(height: int, width: int, expected: tuple[int, int]):
    (clip,) = cut_all(numbered(8, 8.0, height, width), CutConfig(short_side=32))
    assert (clip.info.height, clip.info.width) == clip.all_frames.shape[1:3] == expected
    assert of_values(clip) == list(range(8))
    assert clip.info.provenance["cut"]["size"] == [height, width]


def test_masks_stay_on_their_subjects():
    video = numbered(8, 8.0, 96, 120)
    assert video.all_masks is not None
    video.all_masks[:] = False
    video.all_masks[:, 30:60, 45:90] = True
    video.all_frames[:] = video.all_masks[..., None] * np.uint8(255)
    (clip,) = cut_all(video, CutConfig(short_side=32))
    assert clip.all_masks is not None
    assert np.array_equal(clip.all_masks, clip.all_frames[..., 0] > 127)
    assert clip.all_masks[:, 10:20, 15:30].all()
    assert clip.all_masks.sum() == 8 * 10 * 15


def test_reading_in_groups_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    video, config = numbered(30, 8.0), CutConfig(short_side=2)
    (at_once,) = cut_all(video, config)
    monkeypatch.setattr(cutting, "_READ_PIXELS", 7 * 4 * 6 + 1)
    (in_groups,) = cut_all(video, config)
    assert np.array_equal(at_once.all_frames, in_groups.all_frames)
    assert np.array_equal(at_once.all_masks, in_groups.all_masks)  # type: ignore[arg-type]


class Unread(DecodedClip):
    def frames(self, indices: Sequence[int]) -> Frames:
        raise AssertionError("nothing is to be decoded")


class Damaged(DecodedClip):
    """Frames from 10 on cannot be decoded, as in a file that is cut short."""

    def frames(self, indices: Sequence[int]) -> Frames:
        if max(indices) >= 10:
            raise UserError("video.mp4: frame 10 cannot be decoded")
        return super().frames(indices)


def test_a_clip_that_is_too_large_is_rejected_before_it_is_read():
    video = numbered(8, 8.0)
    info = dataclasses.replace(video.info, length=80, height=100, width=20_000)
    with pytest.raises(Rejected, match="80 frames of 20000x100 are over 100000000 pixels") as caught:
        cut_all(Unread(info, video.all_frames, None), CutConfig())
    assert caught.value.rule == "too_large"


def test_a_damaged_part_is_rejected_and_no_other():
    whole = numbered(24, 8.0)
    video, config = Damaged(whole.info, whole.all_frames, None), CutConfig(seconds=1, all_parts=True)
    first, second, _ = parts(video.info, config)
    assert of_values(cut(video, first, config)) == list(range(8))
    with pytest.raises(Rejected, match=r"video\.mp4: frame 10") as caught:
        cut(video, second, config)
    assert caught.value.rule == "unreadable"


def test_a_real_video(clips: Path):
    video = open_clip(clips / "bikes.mp4", id="bikes", source="test")
    (clip,) = cut_all(video, CutConfig(seconds=2, fps=8, short_side=128, shot=255))
    assert (clip.info.length, clip.info.height, clip.info.width, clip.info.fps) == (16, 128, 301, 8.0)
    # Half a second later the fourth frame shows what the video shows then, smaller.
    then = read_video(clips / "bikes.mp4", 1, start=12).frames[0].mean(axis=(0, 1))
    assert clip.all_frames[4].mean(axis=(0, 1)) == pytest.approx(then, abs=1.0)
    assert clip.info.provenance["cut"] == {"start": 0.0, "fps": 25.0, "size": [272, 640]}


@pytest.mark.parametrize(
    "values",
    [
        {"seconds": 0},
        {"seconds": float("nan")},
        {"fps": 0},
        {"short_side": -1},
        {"least_frames": 0},
        {"least_frames": 81},
        {"most_pixels": 0},
        {"stride": 2},
    ],
)
def test_impossible_cuts_are_refused(values: dict):
    with pytest.raises(ConfigError, match=next(iter(values))):
        CutConfig.from_dict(values)


def test_a_clip_ends_with_its_shot(clips: Path):
    """Shots of this film, seen by eye: the first two end before frames 31 and 78 of 25 a second."""
    video = open_clip(clips / "bikes.mp4", id="bikes", source="test")
    config = CutConfig(seconds=10, fps=8, least_frames=8)
    clip = cut(video, parts(video.info, config)[0], config)
    assert clip.info.length == len(clip.all_frames) == 10
    assert cut(video, Part("bikes", 10, 40), config).info.length == 15
    with pytest.raises(Rejected, match="its shot ends after 10 frames, under 11"):
        cut(video, Part("bikes", 0, 20), dataclasses.replace(config, least_frames=11))
    whole = cut(video, Part("bikes", 0, 20), dataclasses.replace(config, shot=255.0))
    assert whole.info.length == 20
