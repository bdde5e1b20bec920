import io
import pickle
from fractions import Fraction

import av
import numpy as np
import pytest
import skimage.data
from PIL import Image

from magdiff_jax.data.clip import Clip
from magdiff_jax.data.files import open_clip
from magdiff_jax.errors import UserError
from magdiff_jax.media.seeking import VideoReader
from magdiff_jax.media.video import read_video
from magdiff_jax.media.writing import write_video

# Encoders' options for several groups of pictures in 40 frames, and what else makes seeking hard.
B_FRAMES = {"g": "12", "bf": "2"}
OPEN_GROUPS = {"g": "10", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
CODECS = {
    "one_group.mp4": ("libx264", {"g": "250", "bf": "3"}),
    "open_groups.mp4": ("libx264", OPEN_GROUPS),
    "open_groups.mkv": ("libx264", OPEN_GROUPS),
    "refreshed.mkv": ("libx264", {"g": "15", "x264-params": "intra-refresh=1"}),
    "reordered.avi": ("libx264", B_FRAMES),
    "no_index.ts": ("mpeg4", B_FRAMES),
    "groups.mp4": ("mpeg4", B_FRAMES),
    "groups.avi": ("mpeg4", B_FRAMES),
    "no_index.mpg": ("mpeg1video", B_FRAMES),
    "groups.webm": ("libvpx-vp9", {"g": "15", "deadline": "realtime", "cpu-used": "8"}),
    "hidden.webm": ("libvpx", {"g": "15", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"}),
    "layers.mp4": ("libx265", {"x265-params": "keyint=12:bframes=3:temporal-layers=3:log-level=none"}),
}


@pytest.fixture(scope="module")
def carphone(clips) -> np.ndarray:
    """Forty frames of a man in a car, [40, 96, 128, 3]."""
    return read_video(clips / "carphone_pristine.mp4", 40).frames[:, :96, :128]


def encode(path, frames, codec="libx264", options=None, times=None, matrix=None, container=None):
    """Writes frames with any codec, at 25 a second or at `times` in milliseconds."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[index]), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def clip_of(path, **known):
    return open_clip(path, id="a", source="test", **known)


def packets_of(path):
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def overwrite(path, start, count):
    data = bytearray(path.read_bytes())
    data[start : start + count] = np.random.default_rng(0).bytes(count)
    path.write_bytes(data)
    return path


# Which frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
def test_each_frame_is_the_one_that_decoding_in_order_gives(tmp_path, carphone, name):
    codec, options = CODECS[name]
    path = encode(tmp_path / name, carphone, codec, options)
    clip, every = clip_of(path), read_video(path, 40).frames
    assert (clip.info.length, clip.info.fps) == (40, 25.0)
    for index in range(40):
        np.testing.assert_array_equal(clip.frames([index])[0], every[index], err_msg=f"frame {index}")
    np.testing.assert_array_equal(clip.frames([33, 2, 2, 39, 0, 11]), every[[33, 2, 2, 39, 0, 11]])


def test_reordering_that_a_stream_does_not_announce(tmp_path, carphone):
    options = {"g": "20", "bf": "7", "x264-params": "b-adapt=0:scenecut=0"}
    path = encode(tmp_path / "a.mkv", carphone, options=options)
    parameters = b"\x89\x65\x80"  # the end of x264's, with how far frames are reordered
    assert path.read_bytes().count(parameters) == 1
    path.write_bytes(path.read_bytes().replace(parameters, b"\x40\x00\x00"))
    clip, every = clip_of(path), read_video(path, 40).frames
    for index in range(40):
        np.testing.assert_array_equal(clip.frames([index])[0], every[index], err_msg=f"frame {index}")


@pytest.mark.quick
def test_real_clips(clips):
    for name, height, width, fps, length in (
        ("bikes.mp4", 272, 640, 25.0, 250),
        ("carphone_distorted.mp4", 144, 193, 30000 / 1001, 120),  # 176 wide, of 12:11
    ):
        clip = clip_of(clips / name, caption="« vélos »", label="bike", category="object", provenance={"n": 1})
        info = clip.info
        assert isinstance(clip, Clip)
        assert (info.height, info.width, info.fps, info.length) == (height, width, fps, length)
        assert (info.caption, info.augmented_caption, info.label) == ("« vélos »", "« vélos »", "bike")
        assert (info.category, info.provenance) == ("object", {"n": 1})
        indices = [length - 1, 75, 76, 30, 29, 31, 75]
        np.testing.assert_array_equal(clip.frames(indices), read_video(clips / name, length).frames[indices])
        assert clip.masks([0]) is None
        assert clip.areas() is None


def test_frames_are_decoded_from_the_keyframe_before_them(clips, monkeypatch):
    runs = []
    run = VideoReader._run

    def noted(self, video, frames, start):
        runs.append((sorted(frames), start))
        return run(self, video, frames, start)

    monkeypatch.setattr(VideoReader, "_run", noted)
    clip_of(clips / "bikes.mp4").frames([200, 190, 80, 5])  # keyframes are 0, 30, 76, 137, 187 and 242, at 512 ticks
    assert runs == [([5], 0), ([80], 76 * 512), ([190, 200], 187 * 512)]


def test_a_variable_rate_is_shown_in_even_steps(tmp_path, carphone):
    times = np.cumsum([0, *[20] * 10, *[60] * 10])  # 10 frames at 50 a second, 10 at 17; the last lasts as long
    path = encode(tmp_path / "a.mkv", carphone[:21], options={"bf": "2", "g": "8"}, times=times)
    clip, every = clip_of(path), read_video(path, 21).frames
    assert clip.info.length == 21
    assert clip.info.fps == pytest.approx(21 / 0.84, rel=0.03)
    middles = (np.arange(21) + 0.5) / clip.info.fps * 1000
    shown = [int((times <= middle).sum()) - 1 for middle in middles]
    assert shown != list(range(21))
    np.testing.assert_array_equal(clip.frames(range(21)), every[shown])


def test_rounded_times_are_a_constant_rate(tmp_path, carphone):
    times = [round(index * 1001 / 30) for index in range(40)]
    clip = clip_of(encode(tmp_path / "a.mkv", carphone, times=times))
    assert clip.info.fps == pytest.approx(30000 / 1001, rel=0.01)
    np.testing.assert_array_equal(clip.frames(range(40)), read_video(clip.path, 40).frames)


def test_one_frame_and_no_indices(tmp_path, carphone):
    clip = clip_of(encode(tmp_path / "a.mp4", carphone[:1]))
    assert (clip.info.length, clip.info.fps) == (1, 25.0)
    assert clip.frames([0, 0]).shape == (2, 96, 128, 3)
    assert clip.frames([]).shape == (0, 96, 128, 3)


@pytest.mark.parametrize("index", [-1, 3])
def test_frames_that_are_not_there(tmp_path, carphone, index):
    Image.fromarray(carphone[0]).save(tmp_path / "mask.png")
    clip = clip_of(encode(tmp_path / "a.mp4", carphone[:3]), masks=tmp_path / "mask.png")
    for read in (clip.frames, clip.masks):
        with pytest.raises(IndexError, match=r"a\.mp4 has frames 0 to 2"):
            read([0, index])


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, -1, 1, 0), lambda frames: np.rot90(frames, 1, (1, 2))),
        ((0, 1, -1, 0), lambda frames: np.rot90(frames, -1, (1, 2))),
        ((-1, 0, 0, -1), lambda frames: np.rot90(frames, 2, (1, 2))),
    ],
    ids=["90", "270", "180"],
)
def test_a_turned_video_is_upright(tmp_path, carphone, matrix, upright):
    a, b, c, d = (65536 * value for value in matrix)
    path = encode(tmp_path / "phone.mp4", carphone[:6], matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30))
    clip = clip_of(path)
    expected = upright(carphone[:6])
    assert (clip.info.height, clip.info.width) == expected.shape[1:3]
    assert np.abs(clip.frames(range(6)).astype(int) - expected).mean() < 4


def test_clips_can_be_pickled_before_and_after_use(tmp_path, carphone):
    clip = clip_of(encode(tmp_path / "a.mp4", carphone[:12]), caption="c")
    unused = pickle.loads(pickle.dumps(clip))  # noqa: S301
    frames = clip.frames([7])
    used = pickle.loads(pickle.dumps(clip))  # noqa: S301
    for copy in (unused, used):
        assert copy.info == clip.info
        np.testing.assert_array_equal(copy.frames([7]), frames)


# Pictures --------------------------------------------------------------------------------------


def test_folder_of_pictures_in_natural_order(tmp_path, carphone):
    for index in range(12):
        Image.fromarray(carphone[index]).save(tmp_path / f"frame{index}.png")
    clip = open_clip(tmp_path, id="a", source="test", fps=12.0)
    assert (clip.info.length, clip.info.fps, clip.info.height, clip.info.width) == (12, 12.0, 96, 128)
    np.testing.assert_array_equal(clip.frames([10, 2, 10]), carphone[[10, 2, 10]])
    Image.fromarray(carphone[0, :50]).save(tmp_path / "frame7.png")
    np.testing.assert_array_equal(clip.frames([6, 8]), carphone[[6, 8]])
    with pytest.raises(UserError, match="frame 7 is 128x50 but the first is 128x96"):
        clip.frames([6, 7])


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_animation(tmp_path, carphone, suffix):
    images = [Image.fromarray(frame) for frame in carphone[:6]]
    path = tmp_path / f"a.{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=40, lossless=True)
    clip = clip_of(path)
    assert (clip.info.length, clip.info.fps) == (6, 25.0)
    np.testing.assert_array_equal(clip.frames([4, 1, 4]), carphone[[4, 1, 4]])


def test_animation_of_uneven_times(tmp_path, carphone):
    images = [Image.fromarray(frame).quantize() for frame in carphone[:4]]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[300, 50, 50, 50])
    clip, every = clip_of(tmp_path / "a.gif"), read_video(tmp_path / "a.gif", 4).frames
    assert clip.info.fps == pytest.approx(4 / 0.45)
    np.testing.assert_array_equal(clip.frames(range(4)), every[[0, 0, 0, 2]])  # at 56, 169, 281 and 394 ms


def test_still_picture_of_a_camera_on_its_side(tmp_path):
    cat = Image.fromarray(skimage.data.chelsea())
    exif = Image.Exif()
    exif[0x0112] = 6
    cat.save(tmp_path / "cat.jpg", exif=exif)
    clip = open_clip(tmp_path / "cat.jpg", id="a", source="test", fps=5.0)
    assert (clip.info.length, clip.info.height, clip.info.width, clip.info.fps) == (1, 451, 300, 5.0)
    upright = np.rot90(skimage.data.chelsea(), -1).astype(int)
    assert np.abs(clip.frames([0])[0] - upright).mean() < 5


# Masks -----------------------------------------------------------------------------------------


@pytest.fixture
def moving() -> np.ndarray:
    """A block of 20x24 pixels that moves right by 4 a frame, [12, 96, 128]."""
    masks = np.zeros((12, 96, 128), bool)
    for index, mask in enumerate(masks):
        mask[10:30, 4 * index : 4 * index + 24] = True
    return masks


def pixels(masks, colour=(255, 255, 255)):
    return masks[..., None] * np.array(colour, np.uint8)


@pytest.mark.parametrize("name", ["masks", "masks.gif", "masks.mp4"])
def test_masks_of_each_frame(tmp_path, carphone, moving, name):
    write_video(tmp_path / name, pixels(moving), 8.0)
    clip = clip_of(encode(tmp_path / "a.mp4", carphone[:12]), masks=tmp_path / name)
    np.testing.assert_array_equal(clip.masks([11, 3, 3]), moving[[11, 3, 3]])
    np.testing.assert_allclose(clip.areas(), moving.mean(axis=(1, 2)), rtol=1e-6)
    assert clip.masks([]).shape == (0, 96, 128)


def test_one_picture_masks_all_frames(tmp_path, carphone, moving):
    alpha = np.dstack([carphone[0], pixels(moving[3])[..., 0]])
    Image.fromarray(alpha).save(tmp_path / "mask.png")
    clip = clip_of(encode(tmp_path / "a.mp4", carphone[:12]), masks=tmp_path / "mask.png")
    np.testing.assert_array_equal(clip.masks([11, 0]), moving[[3, 3]])
    np.testing.assert_allclose(clip.areas(), [moving[3].mean()] * 12, rtol=1e-6)


def test_first_colours_of_davis_palette_are_subjects(tmp_path, carphone, moving):
    (tmp_path / "masks").mkdir()
    for index in range(3):
        labels = Image.fromarray(moving[index].astype(np.uint8) * (index + 1), mode="L").convert("P")
        labels.putdata(np.asarray(moving[index] * (index + 1)).ravel().tolist())
        labels.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
        labels.save(tmp_path / "masks" / f"{index:05d}.png")
    clip = clip_of(encode(tmp_path / "a.mp4", carphone[:3]), masks=tmp_path / "masks")
    np.testing.assert_array_equal(clip.masks(range(3)), moving[:3])


def test_masks_that_do_not_fit(tmp_path, carphone, moving):
    path = encode(tmp_path / "a.mp4", carphone[:12])
    write_video(tmp_path / "few", pixels(moving[:1]), 8.0)
    write_video(tmp_path / "small.mp4", pixels(moving[:, :48]), 8.0)
    for name, message in {
        "few": r"few has no mask for frame 1 of .*a\.mp4: add 0001\.png",
        "small.mp4": r"small\.mp4 is 128x48 but the frames it masks are 128x96",
        "none.png": "does not exist",
    }.items():
        clip = clip_of(path, masks=tmp_path / name)
        assert clip.frames([0]).shape == (1, 96, 128, 3)
        for read in (lambda clip=clip: clip.masks([0]), clip.areas):
            with pytest.raises(UserError, match=message):
                read()


# Bad files -------------------------------------------------------------------------------------


def test_missing_empty_and_no_videos(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "note.txt").write_text("FFmpeg would draw this text as a picture.\n" * 50)
    (tmp_path / "folder").mkdir()
    for name, message in {
        "none.mp4": "does not exist",
        "empty.mp4": "cannot be read as a video",
        "noise.mp4": "cannot be read as a video",
        "note.txt": "cannot be read as a video",
        "folder": "holds no pictures",
    }.items():
        clip = clip_of(tmp_path / name)
        with pytest.raises(UserError, match=f"{name}.*{message}"):
            _ = clip.info
        with pytest.raises(UserError, match=message):
            clip.frames([0])


def test_playlists_are_not_followed(tmp_path, carphone):
    encode(tmp_path / "secret.ts", carphone[:3])
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.ts\n")
    for name in ("list.m3u8", "list.mp4"):
        with pytest.raises(UserError, match="cannot be read as a video"):
            _ = clip_of(tmp_path / name).info


def test_sound_and_cover_art_are_no_video(tmp_path, carphone):
    for name, covers in (("sound.mp4", 0), ("cover.mp4", 1)):
        with av.open(str(tmp_path / name), "w") as container:
            sound = container.add_stream("aac", rate=44100, layout="mono")
            for _ in range(covers):
                cover = container.add_stream("png", rate=1)
                cover.height, cover.width, cover.pix_fmt = 96, 128, "rgb24"
                cover.disposition = av.stream.Disposition.attached_pic
                container.mux(cover.encode(av.VideoFrame.from_ndarray(carphone[0], format="rgb24")))
                container.mux(cover.encode(None))
            tone = np.sin(np.arange(44100, dtype=np.float32) / 16)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        with pytest.raises(UserError, match="no video stream"):
            _ = clip_of(tmp_path / name).info


def test_cut_short(tmp_path, carphone):
    whole = encode(tmp_path / "a.mp4", carphone, container={"movflags": "+faststart"})
    data, every = whole.read_bytes(), read_video(whole, 40).frames

    (tmp_path / "no_index.mp4").write_bytes(encode(tmp_path / "b.mp4", carphone).read_bytes()[:9000])
    with pytest.raises(UserError, match="is cut short"):
        _ = clip_of(tmp_path / "no_index.mp4").info

    (tmp_path / "no_frame.mp4").write_bytes(data[: data.index(b"mdat") + 40])
    with pytest.raises(UserError, match="no readable frame"):
        _ = clip_of(tmp_path / "no_frame.mp4").info

    there = len(data) * 7 // 10
    count = sum(position + size <= there for position, size in packets_of(whole))
    whole.write_bytes(data[:there])
    clip = clip_of(whole)
    assert 5 < clip.info.length == count < 40
    # Without the later packets, B-frames may lack one that they refer to; those before are whole.
    np.testing.assert_array_equal(clip.frames(range(5)), every[:5])


def test_damage_in_the_middle(clips, tmp_path):
    path = tmp_path / "bikes.mp4"
    path.write_bytes((clips / "bikes.mp4").read_bytes())
    whole = clip_of(path).frames([0, 5, 29, 30, 100])
    position, size = packets_of(path)[10]
    overwrite(path, position, min(size, 300))
    clip = clip_of(path)
    assert clip.info.length == 250
    np.testing.assert_array_equal(clip.frames([0, 5]), whole[:2])
    np.testing.assert_array_equal(clip.frames([30, 100]), whole[3:])  # from keyframes after the damage
    for index in (10, 29):
        with pytest.raises(UserError, match=rf"bikes\.mp4: frame {index} cannot be decoded: the file is damaged"):
            clip.frames([5, index, 30])


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    path = tmp_path / "huge.y4m"
    path.write_bytes(b"YUV4MPEG2 W12000 H12000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))
    with pytest.raises(UserError, match="12000x12000, over 89 megapixels"):
        _ = clip_of(path).info


def test_a_larger_frame_later_is_refused(tmp_path):
    cat = Image.fromarray(skimage.data.chelsea())
    path = tmp_path / "a.avi"
    for picture, message in (
        (cat.resize((64, 48)), "frame 1 is 64x48 but the first is 451x300"),
        (Image.new("L", (12000, 8000)), "frame 1 cannot be decoded"),
    ):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=25)
            stream.height, stream.width, stream.pix_fmt = 300, 451, "yuvj420p"
            for index, image in enumerate((cat, picture)):
                jpeg = io.BytesIO()
                image.save(jpeg, "JPEG")
                packet = av.Packet(jpeg.getvalue())
                packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, index, index, True
                container.mux(packet)
        clip = clip_of(path)
        assert clip.frames([0, 0]).shape == (2, 300, 451, 3)
        with pytest.raises(UserError, match=message):
            clip.frames([1])


def test_unicode_path(tmp_path, carphone):
    folder = tmp_path / "日本 – vidéos"
    folder.mkdir()
    clip = clip_of(encode(folder / "лиса 🦊.mp4", carphone[:2]))
    assert clip.info.length == 2
    (folder / "köln.mp4").touch()
    with pytest.raises(UserError, match=r"köln\.mp4 cannot be read"):
        _ = clip_of(folder / "köln.mp4").info
