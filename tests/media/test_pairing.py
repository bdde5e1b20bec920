"""Each frame's own mask: by numbers, in order, or by time."""

import shutil

import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.media.masks import read_masks
from magdiff_jax.media.pairing import pair
from magdiff_jax.media.readers import open_reader
from magdiff_jax.media.video import write_video


@pytest.fixture
def frames() -> np.ndarray:
    """A square that moves right by 2 a frame, [16, 32, 64, 3]."""
    frames = np.zeros((16, 32, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[12:20, 2 * index : 2 * index + 8] = 255
    return frames


@pytest.fixture
def folders(tmp_path, frames):
    for name in ("frames", "masks"):
        write_video(tmp_path / name, frames, 8.0)
    write_video(tmp_path / "clip.mp4", frames, 24.0)
    return tmp_path


def paired(folder, video, masks, frames=range(16)):
    return pair(open_reader(folder / video), open_reader(folder / masks), frames)


@pytest.mark.parametrize("video", ["frames", "clip.mp4"])
def test_a_missing_mask_is_named_and_does_not_move_the_others(folders, video):
    (folders / "masks/0003.png").unlink()
    assert paired(folders, video, "masks", [0, 2, 4, 15]) == [0, 2, 3, 14]
    with pytest.raises(UserError, match=r"masks has no mask for (0003\.png|frame 3) of .*: add 0003\.png, black"):
        paired(folders, video, "masks")
    with pytest.raises(UserError, match=r"masks lacks 0003\.png"):
        read_masks(folders / "masks", 8, 32, 64)


def test_numbers_from_one_on_and_of_a_part(folders):
    for index in reversed(range(16)):
        (folders / f"masks/{index:04d}.png").rename(folders / f"masks/object_{index + 1:04d}.png")
    assert paired(folders, "clip.mp4", "masks", [0, 15]) == [0, 15]
    with pytest.raises(UserError, match=r"object_0016\.png masks no frame of .*frames, which ends 1 before"):
        paired(folders, "frames", "masks")
    # Whether a part that begins later is counted from 0 or from 1, its numbers do not tell: from 0, as frames are.
    for index in (*range(8), 15):
        (folders / f"masks/object_{index + 1:04d}.png").unlink()
    assert paired(folders, "clip.mp4", "masks", [9, 10]) == [0, 1]


def test_more_masks_than_frames(folders):
    (folders / "frames/0015.png").unlink()
    with pytest.raises(UserError, match=r"0015\.png masks no frame of .*frames"):
        paired(folders, "frames", "masks", [0])


def test_names_without_numbers_are_paired_in_order(folders):
    for index in range(16):
        (folders / f"masks/{index:04d}.png").rename(folders / f"masks/{'abcdefghijklmnop'[index]}.png")
    assert paired(folders, "clip.mp4", "masks") == list(range(16))
    (folders / "masks/d.png").unlink()
    with pytest.raises(UserError, match=r"15 masks for the 16 frames .* has no mask 15"):
        paired(folders, "clip.mp4", "masks")


@pytest.mark.parametrize(("name", "fps"), [("masks.mp4", 12.0), ("masks.gif", 12.5)])
def test_masks_at_half_the_rate(folders, frames, name, fps):
    write_video(folders / "clip.mp4", frames, 2 * fps)
    write_video(folders / name, frames[::2], fps)
    assert paired(folders, "clip.mp4", name) == [index // 2 for index in range(16)]
    masks = read_masks(folders / name, 3, 32, 64, start=4, stride=5, video=folders / "clip.mp4")
    np.testing.assert_array_equal(masks, frames[[4, 8, 14], ..., 0] > 0)


def test_as_many_masks_as_frames_whatever_their_rate(folders, frames):
    write_video(folders / "masks.mp4", frames, 25.0)
    assert paired(folders, "clip.mp4", "masks.mp4") == list(range(16))
    write_video(folders / "four.mp4", frames[4:8], 8.0)
    assert paired(folders, "clip.mp4", "four.mp4", [4, 5, 6, 7]) == [0, 1, 2, 3]


def test_masks_of_another_length(folders, frames):
    write_video(folders / "short.mp4", frames[:6], 24.0)
    with pytest.raises(UserError, match=r"short\.mp4 lasts 0\.25 s with 6 masks, but .*clip\.mp4 0\.67 s with 16"):
        paired(folders, "clip.mp4", "short.mp4")
    shutil.rmtree(folders / "frames")
    write_video(folders / "frames", frames[:10], 8.0)
    with pytest.raises(UserError, match=r"6 masks for the 10 frames .* has no mask 6"):
        paired(folders, "frames", "short.mp4", range(10))
