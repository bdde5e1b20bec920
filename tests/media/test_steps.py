"""When frames are shown, and the rate that follows from it."""

from fractions import Fraction

import av
import numpy as np
import pytest

from magdiff_jax.media.steps import Timeline
from magdiff_jax.media.video import read_video

MILLISECOND = Fraction(1, 1000)


def timeline(times: list[int], end: int, rate: Fraction | None = None) -> Timeline:
    return Timeline(np.array(times), end, MILLISECOND, rate)


def test_a_stated_rate_is_believed_where_it_shows_each_frame_once() -> None:
    rounded = timeline([0, 42, 83, 125, 167], 208, Fraction(24))
    assert rounded.rate_of(range(0, 4, 1)) == 24
    assert rounded.rate_of(range(0, 5, 2)) == 12
    assert rounded.even_steps()[0] == 24
    wrong = timeline([0, 42, 83, 125, 167], 208, Fraction(1000))
    assert wrong.rate_of(range(5)) == pytest.approx(5 / 0.208)
    assert wrong.even_steps()[0] == pytest.approx(5 / 0.208)


def test_the_rate_is_that_of_the_frames_that_were_taken() -> None:
    """A second at 10 frames a second, then a second at 20."""
    times = timeline([*range(0, 1000, 100), *range(1000, 2000, 50)], 2000)
    assert times.rate_of(range(10)) == pytest.approx(10)
    assert times.rate_of(range(10, 30)) == pytest.approx(20)
    assert times.rate_of(range(10, 30, 4)) == pytest.approx(5)
    assert times.rate_of(range(10, 29, 9)) == pytest.approx(20 / 9)
    assert times.rate_of([3]) == pytest.approx(10)
    assert times.rate_of([29]) == pytest.approx(20)


@pytest.mark.parametrize("states", ["1 ms", "none"])
def test_videos_of_browsers_have_the_rate_of_their_times(tmp_path, states) -> None:
    """About 30 frames a second with jitter; the header says a millisecond for each, or nothing."""
    times = np.cumsum(np.random.default_rng(0).integers(25, 42, 90))
    times -= times[0]
    path = tmp_path / "recording.webm"
    with av.open(str(path), "w", options={"live": "1"}) as file:
        stream = file.add_stream("libvpx", rate=1000, options={"deadline": "realtime", "auto-alt-ref": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", MILLISECOND
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), time % 200, np.uint8), format="rgb24")
            frame.pts, frame.time_base = int(time), MILLISECOND
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    if states == "none":
        data = path.read_bytes()
        at, duration = data.find(b"\x23\xe3\x83"), data[data.find(b"\x23\xe3\x83") + 3] & 0x7F
        void = b"\xec" + bytes([0x80 | duration + 2]) + bytes(duration + 2)
        path.write_bytes(data[:at] + void + data[at + 4 + duration :])
    assert read_video(path, 90).fps == pytest.approx(89 / times[-1] * 1000, rel=0.002)
    assert read_video(path, 8, start=40).fps == pytest.approx(8 / (times[48] - times[40]) * 1000)
    assert read_video(path, 8, stride=10).fps == pytest.approx(8 / times[80] * 1000)
