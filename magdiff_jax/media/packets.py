"""What the packets of a video file tell of its frames, without decoding more than it takes.

Two things are kept apart: where decoding can begin, and what is shown. A packet may be decoded and never shown: before
the cut of a file that was cut without encoding it anew (edit lists), or as a frame that others only refer to.
"""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.media.container import Video, open_video
from magdiff_jax.media.shown import is_hdr, to_picture
from magdiff_jax.media.steps import Timeline

if TYPE_CHECKING:
    from av import Packet

# In these, FFmpeg seeks to some byte near a time, maybe in the middle of a picture.
_WITHOUT_INDEX = {"mpeg", "mpegts", "mpegvideo"}
# A packet of these is a frame, unless it says itself that it is none; elsewhere all is decoded to know.
_A_FRAME_EACH = {
    *("h264", "hevc", "vp8", "libvpx", "vp9", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video"),
    *("mjpeg", "prores", "png", "qtrle", "ffv1", "rawvideo", "dnxhd", "h263", "flv", "theora", "wmv1", "wmv2"),
}
# FFmpeg's number; that of an unknown order is smaller. A frame may be two packets where it is two fields.
_PROGRESSIVE = 1
# Where frames have no times.
_RATE = Fraction(25)


class Index(NamedTuple):
    """What a look through the packets tells.

    Attributes:
        timeline: of the frames that are shown, in ticks of the stream; by their numbers where it gives no times.
        starts: times of packets at which decoding can begin after a seek, ascending; the first needs no seek.
        size: height and width of the upright picture.
        stored_size: the same in stored pixels, which may not be square.
        hdr: whether the frames hold more light than a usual screen shows.
        reorder_depth: how many frames the decoder holds back.
        timed: whether decoded frames bear their times.
    """

    timeline: Timeline
    starts: np.ndarray
    size: tuple[int, int]
    stored_size: tuple[int, int]
    hdr: bool
    reorder_depth: int
    timed: bool


class _First(NamedTuple):
    size: tuple[int, int]
    stored_size: tuple[int, int]
    hdr: bool


class _Packet(NamedTuple):
    pts: int | None
    duration: int
    is_key: bool
    is_shown: bool


class _Shown(NamedTuple):
    pts: int | None
    dts: int | None
    duration: int


def look_through(path: Path) -> Index:
    """Reads all packets of a file and decodes its first frame, which alone tells how the picture is turned.

    Packets count that are there whole, from the first keyframe on, whatever the header says: a file that was cut short
    ends where it was cut. Where they do not tell which frames are shown, all of them are decoded.

    Raises:
        UserError: no frame can be read.
    """
    from av.error import FFmpegError

    first: _First | None = None
    packets: list[_Packet] = []
    with open_video(path) as video:
        video.decoder.thread_count = 1
        try:
            for packet in video.container.demux(video.stream):
                if first is None:
                    first = _first_frame(video, packet)
                if packet.size and not packet.is_corrupt:
                    is_shown = not (packet.is_discard or _is_hidden(video.decoder.name, packet))
                    packets.append(_Packet(packet.pts, packet.duration or 0, packet.is_keyframe, is_shown))
        except FFmpegError:
            pass  # cut short: what came before is good
        rate, tick, depth = video.stream.average_rate, video.stream.time_base, video.decoder.reorder_depth
        assert tick is not None
        form = video.container.format.name
        is_known = video.decoder.name in _A_FRAME_EACH and video.decoder.field_order <= _PROGRESSIVE
    if first is None:
        raise _unreadable(path)
    # AVI has no presentation times, and FFmpeg's guesses are wrong where frames are reordered.
    guessed = form == "avi" and depth > 0
    # Frames that come before the first keyframe, or are shown before it, may lack what they refer to.
    if is_known and not guessed and _are_timed(packets) and packets[0].is_key and packets[0] == min(packets):
        shown = [_Shown(packet.pts, None, packet.duration) for packet in packets if packet.is_shown]
    else:
        shown = _decode_all(path)
    entries, timed = _ordered(shown, guessed)
    if not entries:
        raise _unreadable(path)
    if timed is None:
        tick = 1 / (rate or _RATE)
    starts = np.sort([packet.pts for packet in packets if packet.is_key and packet.pts is not None and timed])
    if form in _WITHOUT_INDEX or not len(starts):
        starts = np.array([entries[0][0]])
    return Index(_timeline(entries, tick, rate), starts, *first, depth, bool(timed))


def _ordered(shown: list[_Shown], guessed: bool) -> tuple[list[tuple[int, int]], bool | None]:
    """Time and duration of each frame, and whether decoded frames bear these times; None where there are no times."""
    times = {frame.pts for frame in shown} - {None}
    if not guessed and len(times) == len(shown):
        return sorted((frame.pts, frame.duration) for frame in shown if frame.pts is not None), True
    # The times of decoding are those of showing, once frames are in order; of the last ones there may be none.
    decoded = [frame.dts for frame in shown if frame.dts is not None]
    lacking = len(shown) - len(decoded)
    if decoded and lacking < len(decoded) and all(np.diff(decoded) > 0):
        decoded += range(decoded[-1] + 1, decoded[-1] + 1 + lacking)
        return [(time, 1) for time in decoded], False
    return [(number, 1) for number in range(len(shown))], None


def _are_timed(packets: list[_Packet]) -> bool:
    return bool(packets) and len({packet.pts for packet in packets} - {None}) == len(packets)


def _is_hidden(codec: str, packet: "Packet") -> bool:
    """Whether a packet says that its frame is for others to refer to, and not to be shown (VP8: RFC 6386, 9.1)."""
    return codec in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10


def _first_frame(video: Video, packet: "Packet") -> _First | None:
    from av.error import FFmpegError

    try:
        frames = video.decoder.decode(packet)
    except FFmpegError:
        return None
    if not frames:
        return None
    size, stored = (to_picture(frames[0], aspect).rgb.shape[:2] for aspect in (video.aspect, Fraction(1)))
    return _First(size, stored, is_hdr(frames[0]))


def _decode_all(path: Path) -> list[_Shown]:
    """Each frame that decoding the whole file gives."""
    from av.error import FFmpegError

    shown: list[_Shown] = []
    with open_video(path) as video:
        video.decoder.thread_count = 1
        try:
            for packet in video.container.demux(video.stream):
                with suppress(FFmpegError):  # a damaged one
                    shown += [_Shown(each.pts, each.dts, each.duration or 0) for each in video.decoder.decode(packet)]
        except FFmpegError:
            pass  # cut short: what came before is good
    return shown


def _timeline(entries: list[tuple[int, int]], tick: Fraction, rate: Fraction | None) -> Timeline:
    times = np.array([pts for pts, _ in entries])
    # Files of browsers and screen recorders give frames almost no duration, or none.
    usual = int(np.median(np.diff(times))) if len(times) > 1 else 1
    return Timeline(times, int(times[-1]) + max(entries[-1][1], usual, 1), tick, rate)


def _unreadable(path: Path) -> UserError:
    return UserError(f"{path} has no readable frame: it is empty, damaged or cut short")
