"""Files of many kinds, made by FFmpeg's own program, read as it shows them: the same frames, times and colours."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.media.readers import open_reader
from magdiff_jax.media.video import read_pictures
from tests.media.ffmpeg import FFMPEG, ffmpeg

# Each frame is told from the others by its brightness, and the picture has no symmetry.
SOURCE = "color=c=black:s={size}:r=24:d=2,format=rgb24,geq=r='4*N+8':g='4*N+8+40*lt(X,W/4)':b='4*N+8+60*lt(Y,H/4)'"
ENCODE = {
    "h264.mp4": "-c:v libx264 -bf 3 -g 12",
    "h264-full-range.mp4": "-c:v libx264 -pix_fmt yuvj420p",
    "h264-bt709.mkv": "-vf scale=out_color_matrix=bt709 -c:v libx264 -colorspace bt709 -bf 2",
    "h264-open.mkv": "-c:v libx264 -g 12 -bf 3 -x264-params open-gop=1:scenecut=0",
    "h264.ts": "-c:v libx264 -bf 2 -g 12",
    "h264.flv": "-c:v libx264 -bf 2",
    "h264.mov": "-c:v libx264 -bf 2 -pix_fmt yuv444p",
    "h264-interlaced.mp4": "-c:v libx264 -flags +ilme+ildct",
    "hevc.mp4": "-c:v libx265 -x265-params log-level=none:keyint=12:bframes=3",
    "hevc-open.mkv": "-c:v libx265 -x265-params log-level=none:keyint=12:open-gop=1:bframes=3",
    "vp8.webm": "-c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -arnr-maxframes 7 -b:v 300k",
    "vp9.webm": "-c:v libvpx-vp9 -cpu-used 8 -deadline realtime -auto-alt-ref 1 -lag-in-frames 16",
    "av1.mp4": "-c:v libaom-av1 -cpu-used 8 -usage realtime",
    "av1.mkv": "-c:v libaom-av1 -cpu-used 8 -lag-in-frames 16 -g 12",
    "mpeg4.avi": "-c:v mpeg4 -q:v 3",
    "mpeg4-b.avi": "-c:v mpeg4 -q:v 3 -bf 2",
    "mpeg4-b.mp4": "-c:v mpeg4 -q:v 3 -bf 2",
    "xvid.avi": "-c:v libxvid -bf 2 -q:v 3",
    "msmpeg4.avi": "-c:v msmpeg4v2 -q:v 3",
    "h263.mov": "-vf scale=176:144 -c:v h263 -q:v 3",
    "mpeg2.mpg": "-c:v mpeg2video -q:v 3 -bf 2",
    "mpeg2.ts": "-c:v mpeg2video -q:v 3 -bf 2",
    "mpeg1.mpg": "-c:v mpeg1video -q:v 3",
    "prores.mov": "-c:v prores_ks -pix_fmt yuv422p10le",
    "qtrle.mov": "-c:v qtrle",
    "png.mov": "-c:v png",
    "mjpeg.avi": "-c:v mjpeg -q:v 2",
    "wmv2.wmv": "-c:v wmv2 -q:v 2",
    "theora.ogv": "-c:v libtheora -q:v 9",
    "ffv1.mkv": "-c:v ffv1 -pix_fmt yuv420p10le",
    "variable.mkv": "-vf select='not(mod(n\\,3))+not(mod(n\\,7))' -fps_mode vfr -c:v libx264 -bf 2",
    "variable.mp4": "-vf select='not(mod(n\\,3))+not(mod(n\\,7))' -fps_mode vfr -c:v libx264 -bf 2",
    "ntsc.mp4": "-r 30000/1001 -c:v libx264 -bf 2",
    "late.mp4": "-c:v libx264 -bf 2 -output_ts_offset 1.7",
    "early.mp4": "-c:v libx264 -bf 2 -output_ts_offset -0.6 -avoid_negative_ts disabled",
    "early.ts": "-c:v mpeg2video -bf 2 -output_ts_offset -0.6 -avoid_negative_ts disabled",
    "odd.mp4": "-vf scale=65:49 -c:v libx264 -pix_fmt yuv444p",
    "odd.webm": "-vf scale=65:49 -c:v libvpx-vp9 -cpu-used 8 -deadline realtime",
    "wide-pixels.mp4": "-vf setsar=16/9 -c:v libx264",
    "anim.gif": "-vf fps=12.5",
    "anim.apng": "-f apng -plays 0",
}
# Made from another one: cut without encoding it anew, or turned.
REMUX = {
    "two-groups.mp4": ("h264.mp4", "-ss 0.7", "-c copy"),
    "one-group.mp4": ("h264.mp4", "-ss 0.6 -t 0.3", "-c copy"),
    "cut.mkv": ("h264.mp4", "-ss 0.7", "-c copy"),
    "cut-open.mkv": ("h264-open.mkv", "-ss 0.7", "-c copy"),
    "cut-open.mp4": ("h264-open.mkv", "-ss 0.7", "-c copy"),
    "cut-hevc.mp4": ("hevc.mp4", "-ss 0.7", "-c copy"),
    "cut-hevc-open.mkv": ("hevc-open.mkv", "-ss 0.7", "-c copy"),
    "cut-mpeg2.ts": ("mpeg2.ts", "-ss 0.7", "-c copy"),
    "cut-vp9.webm": ("vp9.webm", "-ss 0.7", "-c copy"),
    "cut-av1.mkv": ("av1.mkv", "-ss 0.7", "-c copy"),
    "turned.mp4": ("h264.mp4", "-display_rotation 90", "-c copy"),
    "turned-back.mov": ("hevc.mp4", "-display_rotation -90", "-c copy -tag:v hvc1"),
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    for name, options in ENCODE.items():
        given = (
            ["-pix_fmt", "yuv420p"] if "pix_fmt" not in options and name[-3:] in ("mp4", "mkv", "ebm", ".ts") else []
        )
        ffmpeg("-f", "lavfi", "-i", SOURCE.format(size="64x48"), *given, *options.split(), str(folder / name))
    for name, (source, before, after) in REMUX.items():
        ffmpeg(*before.split(), "-i", str(folder / source), *after.split(), str(folder / name))
    return folder


def shown_by_ffmpeg(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Seconds at which each frame is shown, and the frames with square pixels."""
    square = "scale='if(gt(sar,1),round(iw*sar),iw)':'if(lt(sar,1),round(ih/sar),ih)',showinfo,format=rgb24"
    # On one thread: with more, FFmpeg 7 now and then shows broken frames of Theora.
    flags = ["-copyts", "-threads", "1", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-vf", square]
    command = [FFMPEG, "-hide_banner", "-nostats", *flags, "-f", "rawvideo", "-"]
    result = subprocess.run(command, check=True, capture_output=True)
    said = result.stderr.decode()
    width, height = map(int, re.findall(r"rawvideo.*?, rgb24.*?, (\d+)x(\d+)", said)[-1])
    times = np.array([float(time) for time in re.findall(r"pts_time:(\S+)", said)])
    return times, np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("name", [*ENCODE, *REMUX])
def test_as_ffmpeg(zoo: Path, name: str) -> None:
    times, frames = shown_by_ffmpeg(zoo / name)
    reader = open_reader(zoo / name)
    timeline = reader.timeline
    assert len(timeline.times) == len(frames)
    assert reader.size == frames.shape[1:3]
    seconds = (timeline.times - timeline.times[0]) * float(timeline.tick)
    np.testing.assert_allclose(seconds, times - times[0], atol=2e-3)
    order = np.random.default_rng(0).permutation(len(frames))
    for some in (range(len(frames)), order[:5].tolist()):
        got = np.stack([picture.rgb for picture in read_pictures(reader, some)])
        assert np.abs(got.astype(int) - frames[list(some)].astype(int)).mean(axis=(1, 2, 3)).max() < 2
