import os
import resource
from contextlib import contextmanager

import av
import numpy as np
import pytest
from PIL import Image

from magdiff_jax.errors import UserError
from magdiff_jax.media.video import read_video
from magdiff_jax.media.writing import check_output, write_video

CUT_SHORT = {"movflags": "+faststart"}  # the index comes first, so that what is left can be read


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def names(folder):
    return sorted(file.name for file in folder.iterdir())


# Reading ---------------------------------------------------------------------------------------


def test_real_clip_with_start_and_stride(clips):
    path = clips / "carphone_pristine.mp4"
    every = read_video(path, 12)
    some = read_video(path, 3, start=2, stride=4)
    np.testing.assert_array_equal(some.frames, every.frames[2:11:4])
    assert every.fps == pytest.approx(30000 / 1001)
    assert some.fps == pytest.approx(30000 / 1001 / 4)


def test_other_containers_and_depths(tmp_path, carphone, encode, psnr):
    for name, codec, pix_fmt in (
        ("a.mkv", "ffv1", "yuv420p10le"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mov", "libx264", "yuv444p"),
    ):
        encode(tmp_path / name, carphone[:3], codec, pix_fmt)
        assert psnr(read_video(tmp_path / name, 3).frames, carphone[:3]) > 25, name


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, -1, 1, 0), lambda f: np.rot90(f, 1, (1, 2))),
        ((0, 1, -1, 0), lambda f: np.rot90(f, -1, (1, 2))),
        ((-1, 0, 0, -1), lambda f: np.rot90(f, 2, (1, 2))),
        ((-1, 0, 0, 1), lambda f: f[:, :, ::-1]),
        ((1, 0, 0, -1), lambda f: f[:, ::-1]),
        ((0, 1, 1, 0), lambda f: f.swapaxes(1, 2)),
    ],
)
def test_display_matrix_is_applied_to_every_frame(tmp_path, carphone, encode, psnr, matrix, upright):
    a, b, c, d = (65536 * value for value in matrix)
    full = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = encode(tmp_path / "phone.mp4", carphone[:3], matrix=full)
    assert psnr(read_video(path, 3).frames, upright(carphone[:3])) > 30


def test_folder_in_natural_order(tmp_path, carphone):
    for index, frame in enumerate(carphone):
        Image.fromarray(frame).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("not a picture")
    clip = read_video(tmp_path, 11, start=1)
    np.testing.assert_array_equal(clip.frames, carphone[1:])
    assert clip.fps == 8


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_lossless_animation(tmp_path, carphone, name):
    images = [Image.fromarray(frame) for frame in carphone]
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=40, lossless=True)
    clip = read_video(tmp_path / name, 4, start=1, stride=2)
    np.testing.assert_array_equal(clip.frames, carphone[1:8:2])
    assert clip.fps == pytest.approx(12.5)


def test_still_picture_is_a_clip_of_one_frame(tmp_path, cat):
    Image.fromarray(cat).save(tmp_path / "cat.png")
    np.testing.assert_array_equal(read_video(tmp_path / "cat.png", 1).frames[0], cat)


def test_missing_not_a_video_and_empty_folder(tmp_path):
    (tmp_path / "note.txt").write_text("FFmpeg would draw this text as a picture.\n" * 50)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n")
    (tmp_path / "folder").mkdir()
    for name, message in {
        "none.mp4": "does not exist",
        "note.txt": "cannot be read as a video",
        "noise.mp4": "cannot be read as a video",
        "empty.mp4": "cannot be read as a video",
        "list.m3u8": "cannot be read as a video",
        "folder": "holds no pictures",
    }.items():
        with pytest.raises(UserError, match=message):
            read_video(tmp_path / name, 1)


def test_only_sound(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        tone = np.sin(np.arange(44100, dtype=np.float32) / 16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="no video stream"):
        read_video(path, 1)


def test_too_few_frames(tmp_path, carphone, encode):
    path = encode(tmp_path / "clip.mp4", carphone[:3])
    assert len(read_video(path, 3).frames) == 3
    with pytest.raises(UserError, match=r"clip\.mp4 has 3 frames; frames 0, 1, …, 7 are needed: choose"):
        read_video(path, 8)
    with pytest.raises(UserError, match="has 3 frames; frames 1, 3 are needed"):
        read_video(path, 2, start=1, stride=2)
    with pytest.raises(UserError, match="has 3 frames; frame 5 is needed"):
        read_video(path, 1, start=5)


@pytest.mark.parametrize("numbers", [(0, 0, 1), (1, -1, 1), (1, 0, 0)])
def test_impossible_numbers(tmp_path, carphone, encode, numbers):
    path = encode(tmp_path / "clip.mp4", carphone[:3])
    with pytest.raises(UserError, match="must be"):
        read_video(path, *numbers)


def test_truncated_file_without_index_or_frames(tmp_path, carphone, encode):
    without_index = cut(encode(tmp_path / "a.mp4", carphone), 0.8)
    with pytest.raises(UserError, match="cannot be read as a video"):
        read_video(without_index, 1)
    path = encode(tmp_path / "b.mp4", carphone, **CUT_SHORT)
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"mdat") + 40])
    with pytest.raises(UserError, match="no readable frame"):
        read_video(path, 1)


def test_truncated_file_is_good_up_to_the_damage(tmp_path, carphone, encode):
    path = encode(tmp_path / "a.mp4", np.concatenate([carphone] * 6), **CUT_SHORT)
    whole = read_video(path, 72).frames
    cut(path, 0.7)
    np.testing.assert_array_equal(read_video(path, 8).frames, whole[:8])
    with pytest.raises(UserError, match=r"has \d\d frames; frames 0, 1, …, 71 are needed"):
        read_video(path, 72)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_truncated_animation(tmp_path, carphone, suffix):
    path = tmp_path / f"a.{suffix}"
    images = [Image.fromarray(frame) for frame in carphone]
    images[0].save(path, save_all=True, append_images=images[1:])
    cut(path, 0.6)
    with pytest.raises(UserError):
        read_video(path, 12)


def test_absurd_frame_size_is_refused_before_decoding(tmp_path):
    path = tmp_path / "huge.y4m"
    path.write_bytes(b"YUV4MPEG2 W12000 H12000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))
    with pytest.raises(UserError, match="12000x12000, over 89 megapixels"):
        read_video(path, 1)


def test_frames_of_different_sizes(tmp_path, cat):
    Image.fromarray(cat).save(tmp_path / "0.png")
    Image.fromarray(cat[:, :200]).save(tmp_path / "1.png")
    with pytest.raises(UserError, match="451x300 and of 200x300"):
        read_video(tmp_path, 2)


def test_unreadable_picture_in_a_folder_is_named(tmp_path, cat):
    Image.fromarray(cat).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_text("not a picture")
    with pytest.raises(UserError, match=r"1\.png cannot be read"):
        read_video(tmp_path, 2)


# Writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(144, 176), (143, 175), (1, 1)])
def test_mp4_round_trip(tmp_path, carphone, psnr, height, width):
    frames = carphone[:8, :height, :width]
    write_video(tmp_path / "a.mp4", frames, 30000 / 1001)
    clip = read_video(tmp_path / "a.mp4", 8)
    assert clip.fps == pytest.approx(30000 / 1001)
    assert clip.frames.shape == (8, height + height % 2, width + width % 2, 3)
    assert psnr(clip.frames[:, :height, :width], frames) > 38
    with pytest.raises(UserError, match="has 8 frames"):
        read_video(tmp_path / "a.mp4", 9)


def test_mp4_plays_anywhere_and_keeps_colours(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 120, 40]], np.uint8)
    frames = np.tile(colours.repeat(16, axis=0), (2, 64, 1, 1))
    write_video(tmp_path / "a.mp4", frames, 8.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    middles = read_video(tmp_path / "a.mp4", 2).frames[:, 32, 8::16]
    np.testing.assert_allclose(middles, np.stack([colours, colours]), atol=3)


def test_mp4_is_the_same_on_any_number_of_cores(tmp_path, carphone):
    write_video(tmp_path / "all.mp4", carphone[:8], 8.0)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        write_video(tmp_path / "one.mp4", carphone[:8], 8.0)
    finally:
        os.sched_setaffinity(0, cores)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "all.mp4").read_bytes()


@pytest.mark.quick
@pytest.mark.parametrize(("fps", "read"), [(8.0, 8.0), (12.5, 12.5), (1000.0, 50.0)])
def test_gif_round_trip(tmp_path, carphone, psnr, fps, read):
    write_video(tmp_path / "a.gif", carphone[:8], fps)
    clip = read_video(tmp_path / "a.gif", 8)
    assert psnr(clip.frames, carphone[:8]) > 32
    assert clip.fps == pytest.approx(read)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        assert image.n_frames == 8


def test_gif_keeps_equal_frames(tmp_path, carphone):
    write_video(tmp_path / "a.gif", carphone[[0] * 8], 8.0)
    assert len(read_video(tmp_path / "a.gif", 8).frames) == 8
    write_video(tmp_path / "one.gif", carphone[:1], 8.0)
    assert len(read_video(tmp_path / "one.gif", 1).frames) == 1


@pytest.mark.parametrize("name", ["out", "out.v2/"])
def test_folder_round_trip_is_exact(tmp_path, carphone, name):
    write_video(f"{tmp_path}/{name}", carphone, 8.0)
    folder = tmp_path / name
    assert names(folder) == [f"{index:04d}.png" for index in range(12)]
    np.testing.assert_array_equal(read_video(folder, 12).frames, carphone)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a"])
def test_old_output_is_replaced_whole(tmp_path, carphone, name):
    write_video(tmp_path / name, carphone, 8.0)
    write_video(tmp_path / name, 255 - carphone[:2], 8.0)
    assert names(tmp_path) == [name]
    assert len(read_video(tmp_path / name, 2).frames) == 2
    with pytest.raises(UserError, match="has 2 frames"):
        read_video(tmp_path / name, 3)


@contextmanager
def full_disk(size):
    """Lets no file grow over `size` bytes, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [0, 9000])
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a"])
def test_failed_write_leaves_what_was_there(tmp_path, carphone, name, size):
    with full_disk(size), pytest.raises(UserError, match="could not be written: File too large"):
        write_video(tmp_path / name, carphone, 8.0)
    assert names(tmp_path) == []

    write_video(tmp_path / name, carphone[:2], 8.0)
    old = read_video(tmp_path / name, 2).frames
    with full_disk(size), pytest.raises(UserError, match="could not be written"):
        write_video(tmp_path / name, carphone, 8.0)
    assert names(tmp_path) == [name]
    np.testing.assert_array_equal(read_video(tmp_path / name, 2).frames, old)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_impossible_rate(tmp_path, carphone, fps):
    with pytest.raises(UserError, match=r"between 0\.1 and 1000"):
        write_video(tmp_path / "a.mp4", carphone, fps)
    assert names(tmp_path) == []


def test_check_output(tmp_path, carphone):
    for name in ("a.mp4", "a.gif", "a", "A.MP4"):
        check_output(tmp_path / name, overwrite=False)
    with pytest.raises(UserError, match=r"written as \.mp4, \.gif"):
        check_output(tmp_path / "a.mov", overwrite=True)
    with pytest.raises(UserError, match="not a folder: create it"):
        check_output(tmp_path / "none" / "a.mp4", overwrite=True)

    write_video(tmp_path / "a.mp4", carphone[:1], 8.0)
    write_video(tmp_path / "a", carphone[:1], 8.0)
    for name in ("a.mp4", "a"):
        with pytest.raises(UserError, match="exists: choose another --out or add --overwrite"):
            check_output(tmp_path / name, overwrite=False)
        check_output(tmp_path / name, overwrite=True)


def test_nothing_of_the_users_is_overwritten(tmp_path, carphone):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "0000.png").touch()
    (folder / "holiday.png").touch()
    for overwrite in (
        lambda: check_output(folder, True),
        lambda: write_video(folder, carphone, 8.0),
    ):
        with pytest.raises(UserError, match="holds files other than"):
            overwrite()
    assert names(folder) == ["0000.png", "holiday.png"]

    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(UserError, match="is a folder:"):
        check_output(tmp_path / "clip.mp4", overwrite=True)
    (tmp_path / "frames").touch()
    with pytest.raises(UserError, match="is a file:"):
        check_output(tmp_path / "frames", overwrite=True)
