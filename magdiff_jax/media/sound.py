"""The sound of a video for another one with its times: copied where MP4 takes it as it is, else encoded as AAC."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from magdiff_jax.media.container import open_video

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

# What players expect in an MP4.
_COPIED = {"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "flac", "opus", "libopus"}


class Sound(NamedTuple):
    """A part of a video's sound.

    Attributes:
        path: of a video with sound.
        start: in seconds of its own time.
        end: likewise.
    """

    path: Path
    start: float
    end: float


def has_sound(path: Path) -> bool:
    """Whether a video has sound."""
    with open_video(path) as video:
        return bool(video.container.streams.audio)


class SoundTrack:
    """A stream for a sound in an MP4, which has to be made before anything is written.

    Args:
        sound: what is to be heard; its start becomes time 0.
        target: being written.
    """

    def __init__(self, sound: Sound, target: "OutputContainer"):
        self._target = target
        self._packets = _packets(sound, target)
        self._waiting = next(self._packets, None)

    def write(self, until: float) -> None:
        """Writes what is heard before this second: players look for it near its pictures."""
        while self._waiting is not None and self._seconds(self._waiting) < until:
            self._target.mux(self._waiting)
            self._waiting = next(self._packets, None)

    def _seconds(self, packet: Any) -> float:
        return float(packet.pts * packet.time_base)


def _packets(sound: Sound, target: "OutputContainer") -> Iterator["Packet"]:
    with open_video(sound.path) as video:
        stream = video.container.streams.audio[0]
        if stream.codec_context.name in _COPIED:
            yield from _copied(sound, video.container.demux(stream), target.add_stream_from_template(stream))
        else:
            warnings.warn(f"{sound.path}: MP4 takes no {stream.codec_context.name} sound; it becomes AAC", stacklevel=2)
            rate = stream.codec_context.sample_rate
            yield from _encoded(sound, video.container.decode(stream), target.add_stream("aac", rate=rate))


def _copied(sound: Sound, packets: Iterator["Packet"], track: "AudioStream") -> Iterator["Packet"]:
    for packet in packets:
        if packet.pts is None or packet.time_base is None:
            continue  # what ends a stream
        seconds = float(packet.pts * packet.time_base)
        # One packet before the start too: decoders need it to begin, and players skip what lies before time 0.
        if seconds + 2 * float((packet.duration or 0) * packet.time_base) <= sound.start:
            continue
        if seconds >= sound.end:
            return
        packet.pts = packet.dts = packet.pts - round(sound.start / packet.time_base)
        packet.stream = track
        yield packet


def _encoded(sound: Sound, frames: Iterator[Any], track: "AudioStream") -> Iterator["Packet"]:
    for frame in frames:
        if frame.time < sound.start:
            continue
        if frame.time >= sound.end:
            break
        frame.pts -= round(sound.start / frame.time_base)
        yield from track.encode(frame)
    yield from track.encode(None)
