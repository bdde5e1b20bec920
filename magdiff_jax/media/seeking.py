"""Any frames of a video file, found by their times, without decoding more than they need."""

from collections.abc import Iterator
from functools import cached_property
from itertools import dropwhile, groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.media.container import Video, open_video
from magdiff_jax.media.images import Picture
from magdiff_jax.media.packets import Index, look_through
from magdiff_jax.media.shown import to_picture
from magdiff_jax.media.steps import Timeline

if TYPE_CHECKING:
    from av import Packet


class VideoReader:
    """A video file; see `readers.Reader`.

    Frames are those that players show. Frames whose bytes are damaged are counted too; reading them, or later ones up
    to the next keyframe, raises an error.
    """

    is_still = False

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def _index(self) -> Index:
        return look_through(self.path)

    @property
    def timeline(self) -> Timeline:
        return self._index.timeline

    @property
    def size(self) -> tuple[int, int]:
        return self._index.size

    @property
    def stored_size(self) -> tuple[int, int]:
        return self._index.stored_size

    @property
    def hdr(self) -> bool:
        """Whether it is mapped from HDR to what a usual screen shows."""
        return self._index.hdr

    def read(self, frames: set[int]) -> Iterator[tuple[int, Picture]]:
        """See `readers.Reader`."""
        missing = set(frames)
        # A seek may land too late, and what is called a keyframe may need others before it: then from the beginning.
        for seek in (True, False) if self._index.timed else (False,):
            for frame, picture in self._decode(missing.copy(), seek):
                missing.remove(frame)
                yield frame, picture
            if not missing:
                return
        raise UserError(
            f"{self.path}: frame {min(missing)} cannot be decoded: the file is damaged there; mend or remove it"
        )

    def _decode(self, frames: set[int], seek: bool) -> Iterator[tuple[int, Picture]]:
        """Yields those of the frames that can be decoded; with `seek`, from the last keyframe before each."""
        times, keyframes = self._index.timeline.times, self._index.starts
        # Opening a file decodes frames to learn what the index tells; hence "skip_frame", which is for opening only.
        with open_video(self.path, {"skip_frame": "all"}) as video:
            video.decoder.thread_count = 1
            starts = np.searchsorted(keyframes, times, side="right") - 1 if seek else np.zeros(len(times), int)
            for start, run in groupby(sorted(frames), key=lambda frame: max(int(starts[frame]), 0)):
                yield from self._run(video, set(run), int(keyframes[start]))

    def _run(self, video: Video, frames: set[int], start: int) -> Iterator[tuple[int, Picture]]:
        """Decodes from the keyframe of time `start` until all of the frames are found."""
        from av.error import FFmpegError

        index, decoder = self._index, video.decoder
        times = index.timeline.times
        wanted: dict[int | None, int] = {int(times[frame]) if index.timed else frame: frame for frame in frames}
        # Elsewhere frames may be needed that call themselves non-reference: in HEVC, by higher temporal layers.
        can_skip = index.timed and decoder.name == "h264"
        count, damaged = 0, False
        try:
            packets: Iterator[Packet] = video.container.demux(video.stream)
            if start != index.starts[0]:
                video.container.seek(start, stream=video.stream)
                decoder.flush_buffers()
                # The seek may land before it, and decoders make something up of packets that follow no keyframe.
                packets = dropwhile(lambda packet: packet.pts != start, packets)
            decoder.reorder_depth = index.reorder_depth  # a seek makes the decoder forget it
            for packet in packets:
                if can_skip:
                    decoder.skip_frame = "DEFAULT" if packet.pts in wanted or not packet.size else "NONREF"
                try:
                    decoded = decoder.decode(packet)
                except FFmpegError:
                    decoded, damaged = [], True
                for frame in decoded:
                    damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                    found = wanted.pop(frame.pts if index.timed else count, None)
                    count += 1
                    if found is not None and not damaged:
                        yield found, to_picture(frame, video.aspect)
                if not wanted:
                    return
        except FFmpegError:
            return  # the file cannot be read beyond
