"""Any frames of a video file, found by their times, without decoding more than they need."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from itertools import dropwhile, groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.media.container import open_stream, to_picture
from magdiff_jax.media.images import Picture
from magdiff_jax.media.steps import even_steps
from magdiff_jax.media.video import DEFAULT_FPS

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext
    from av.container import InputContainer
    from av.video.stream import VideoStream

# In these, FFmpeg seeks to some byte near a time, maybe in the middle of a picture.
_WITHOUT_INDEX = {"mpeg", "mpegts", "mpegvideo"}


class _Index(NamedTuple):
    """What a look through the packets tells.

    Attributes:
        times: of the frames, ascending, in ticks of the stream; their numbers where it gives no times.
        keyframes: those of `times` at which decoding can begin after a seek; the first needs none.
        shown: the frame of each step.
        fps: steps per second.
        size: height and width of the upright picture.
        reorder_depth: how many frames the decoder holds back.
        timed: whether decoded frames bear their times.
    """

    times: np.ndarray
    keyframes: np.ndarray
    shown: np.ndarray
    fps: float
    size: tuple[int, int]
    reorder_depth: int
    timed: bool


class SeekingReader:
    """A video file; see `readers.Reader`.

    Frames are counted by the packets that are there whole, from the first keyframe on, whatever the header says: a
    file that was cut short ends where it was cut. Frames whose bytes are damaged are counted too; reading them, or
    later ones up to the next keyframe, raises an error.
    """

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def _index(self) -> _Index:
        return _look_through(self.path)

    @property
    def length(self) -> int:
        return len(self._index.shown)

    @property
    def size(self) -> tuple[int, int]:
        return self._index.size

    @property
    def fps(self) -> float:
        return self._index.fps

    def read(self, indices: set[int]) -> Iterator[tuple[int, Picture]]:
        """See `readers.Reader`."""
        steps: dict[int, list[int]] = {}
        for index in sorted(indices):
            steps.setdefault(int(self._index.shown[index]), []).append(index)
        # A seek may land too late, and what is called a keyframe may need others before it: then from the beginning.
        for seek in (True, False) if self._index.timed else (False,):
            for frame, picture in self._decode(set(steps), seek):
                for index in steps.pop(frame):
                    yield index, picture
            if not steps:
                return
        missing = min(steps.values())[0]
        raise UserError(f"{self.path}: frame {missing} cannot be decoded: the file is damaged there; mend or remove it")

    def _decode(self, frames: set[int], seek: bool) -> Iterator[tuple[int, Picture]]:
        """Yields those of the frames that can be decoded; with `seek`, from the last keyframe before each."""
        keyframes, times = self._index.keyframes, self._index.times
        # Opening a file decodes frames to learn what the index tells; hence "skip_frame", which is for opening only.
        with open_stream(self.path, {"skip_frame": "all"}) as (container, stream):
            stream.codec_context.thread_count = 1
            starts = np.searchsorted(keyframes, times, side="right") - 1 if seek else np.zeros(len(times), int)
            for start, run in groupby(sorted(frames), key=lambda frame: int(starts[frame])):
                yield from self._run(container, stream, set(run), int(keyframes[start]))

    def _run(
        self, container: "InputContainer", stream: "VideoStream", frames: set[int], start: int
    ) -> Iterator[tuple[int, Picture]]:
        """Decodes from the keyframe of time `start` until all of the frames are found."""
        from av.error import FFmpegError

        index, context = self._index, stream.codec_context
        wanted: dict[int | None, int] = {int(index.times[frame]): frame for frame in frames}
        # Elsewhere frames may be needed that call themselves non-reference: in HEVC, by higher temporal layers.
        can_skip = index.timed and context.name == "h264"
        count, damaged = 0, False
        try:
            packets: Iterator[Packet] = container.demux(stream)
            if start != index.keyframes[0]:
                container.seek(start, stream=stream)
                # The seek may land before it, and decoders make something up of packets that follow no keyframe.
                packets = dropwhile(lambda packet: packet.pts != start, packets)
            context.reorder_depth = index.reorder_depth  # a seek makes the decoder forget it
            for packet in packets:
                if can_skip:
                    context.skip_frame = "DEFAULT" if packet.pts in wanted or not packet.size else "NONREF"
                try:
                    decoded = context.decode(packet)
                except FFmpegError:
                    decoded, damaged = [], True
                for frame in decoded:
                    damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                    found = wanted.pop(frame.pts if index.timed else count, None)
                    count += 1
                    if found is not None and not damaged:
                        yield found, to_picture(frame)
                if not wanted:
                    return
        except FFmpegError:
            return  # the file cannot be read beyond


def _look_through(path: Path) -> _Index:
    """Reads all packets of a file and decodes its first frame, which alone tells how the picture is turned."""
    from av.error import FFmpegError

    first: Picture | None = None
    packets: list[tuple[int | None, int, bool]] = []
    with open_stream(path) as (container, stream):
        context = stream.codec_context
        context.thread_count = 1
        try:
            for packet in container.demux(stream):
                if first is None:
                    first = _first_picture(context, packet)
                if packet.size and not (packet.is_corrupt or packet.is_discard):
                    packets.append((packet.pts, packet.duration or 0, packet.is_keyframe))
        except FFmpegError:
            pass  # cut short: what came before is good
        rate, tick = stream.average_rate, stream.time_base
        assert tick is not None
        reorder_depth = context.reorder_depth
        # AVI has no presentation times, and FFmpeg's guesses are wrong where frames are reordered.
        guessed = container.format.name == "avi" and reorder_depth > 0
        without_index = container.format.name in _WITHOUT_INDEX
    entries = [(pts, duration, is_key) for pts, duration, is_key in packets if pts is not None]
    timed = not guessed and len({pts for pts, _, _ in entries}) == len(packets)
    if not timed:
        tick = 1 / (rate or Fraction(DEFAULT_FPS))
        entries = [(number, 1, number == 0) for number in range(len(packets))]
    keyframes = [pts for pts, _, is_key in entries if is_key]
    # Frames that come before the first keyframe, or are shown before it, lack what they refer to.
    entries = sorted(entry for entry in entries if keyframes and entry[0] >= keyframes[0])
    if first is None or not entries:
        raise UserError(f"{path} has no readable frame: it is empty, damaged or cut short")
    times = np.array([pts for pts, _, _ in entries])
    end = times[-1] + (entries[-1][1] or (times[-1] - times[0]) // max(len(times) - 1, 1) or 1)
    fps, shown = even_steps(times, int(end), tick, rate)
    starts = np.sort(keyframes)[: 1 if without_index else None]
    return _Index(times, starts, shown, fps, first.rgb.shape[:2], reorder_depth, timed)


def _first_picture(context: "VideoCodecContext", packet: "Packet") -> Picture | None:
    from av.error import FFmpegError

    try:
        frames = context.decode(packet)
    except FFmpegError:
        return None
    return to_picture(frames[0]) if frames else None
