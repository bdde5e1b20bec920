"""Clips written as MP4, GIF and folders of PNGs."""

import math
import re
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from magdiff_jax.errors import UserError, refusals_told
from magdiff_jax.media.images import MAX_PIXELS, write_image
from magdiff_jax.media.sound import Sound, SoundTrack
from magdiff_jax.replacing import replacing

_OUTPUT_SUFFIXES = (".mp4", ".gif", "")
# Pixels of a side that x264 takes, and that a GIF has numbers for.
_LONGEST = {".mp4": 16384, ".gif": 65535}
# RGB, [height, width, 3], one after the other.
Frames = Iterable[np.ndarray]


def check_output(path: str | Path, overwrite: bool) -> None:
    """Says before any work whether `write_video` could write to `path`.

    Raises:
        UserError: the suffix is unknown; the parent folder is missing or may not be entered; something is there already
            and `overwrite` is not set; or it is no older output of the same kind.
    """
    with refusals_told():
        _check_place(_form(path), Path(path), overwrite)


def _check_place(form: str, path: Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder: create it or choose another --out")
    if not path.exists():
        return
    if not overwrite:
        raise UserError(f"{path} exists: choose another --out or add --overwrite")
    if path.is_dir() != (form == ""):
        raise UserError(f"{path} is a {'file' if form == '' else 'folder'}: choose another --out")
    if path.is_dir() and not all(_is_ours(file) for file in path.iterdir()):
        raise UserError(f"{path} holds files other than 0000.png, …: choose another --out")


def check_frame_size(path: str | Path, height: int, width: int) -> None:
    """Says before any work whether `write_video` could write frames of a size, in pixels, that can be read again.

    Raises:
        UserError: they are larger than the format or `MAX_PIXELS` allows.
    """
    form = _form(path)
    longest = _LONGEST.get(form)
    if longest is not None and max(height, width) > longest:
        raise UserError(f"{path}: frames of {width}x{height} are too large: {form} has at most {longest} pixels a side")
    if height * width > MAX_PIXELS:
        raise UserError(f"{path}: frames of {width}x{height} are too large: at most {MAX_PIXELS / 1e6:.0f} megapixels")


def check_fps(fps: int | float) -> None:
    """Raises UserError where a clip cannot be written at this rate."""
    if not (math.isfinite(fps) and 0.1 <= fps <= 1000):
        raise UserError(f"fps {fps}: must be between 0.1 and 1000")


def _is_ours(file: Path) -> bool:
    return file.is_file() and re.fullmatch(r"\d{4,}\.png", file.name) is not None


def names_folder(path: str | Path) -> bool:
    """Whether a path ends with a slash; what is called v1.5/ has no suffix."""
    return str(path).endswith("/")


def _form(path: str | Path) -> str:
    """Returns the suffix that decides how a clip is written; "" is a folder of PNGs."""
    form = "" if names_folder(path) else Path(path).suffix.lower()
    if form not in _OUTPUT_SUFFIXES:
        raise UserError(f"{path}: a clip is written as .mp4, .gif, or (without a suffix) a folder of PNG files")
    return form


def write_video(path: str | Path, frames: Frames, fps: int | float, sound: Sound | None = None) -> None:
    """Writes a clip, whole or not at all, in place of an older one.

    The suffix decides: `.mp4` (H.264; odd sizes grow by one repeated edge line), `.gif` (looping),
    or none (or a trailing slash) for a folder of PNGs `0000.png`, `0001.png`, …

    Args:
        path: to write to.
        frames: of one size, in uint8; at least one.
        fps: frames per second.
        sound: of an MP4; elsewhere there is none.

    Raises:
        UserError: as `check_output(path, overwrite=True)` and `check_frame_size` do; `fps` is outside [0.1, 1000]; or
            the operating system refuses to write.
    """
    check_output(path, overwrite=True)
    check_fps(fps)
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    check_frame_size(path, height, width)
    every = chain([first], frames)
    with replacing(Path(path)) as new:
        match _form(path):
            case ".mp4":
                _write_mp4(new, every, height, width, fps, sound)
            case ".gif":
                _write_gif(new, every, height, width, fps)
            case _:
                _write_folder(new, every)


def _write_mp4(path: Path, frames: Frames, height: int, width: int, fps: int | float, sound: Sound | None) -> None:
    import av

    # Chroma is stored for blocks of 2x2 pixels.
    odd = (0, height % 2), (0, width % 2), (0, 0)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        rate = Fraction(fps).limit_denominator(1001)
        # One thread: with more, the file's bytes would depend on how many cores there are.
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "threads": "1"})
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        # Said outright, since players guess from the size when it is left open.
        bt709, limited_range = 1, 1
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = bt709
        context.color_range = limited_range
        track = None if sound is None else SoundTrack(sound, container)
        for index, pixels in enumerate(frames):
            if track is not None:
                track.write(until=float((index + 1) / rate))
            frame = av.VideoFrame.from_ndarray(np.pad(pixels, odd, mode="edge"), format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_gif(path: Path, frames: Frames, height: int, width: int, fps: int | float) -> None:
    import av
    from av.filter import Graph

    tick = Fraction(1, 100)
    ticks = max(100 / fps, 2)  # viewers slow down anything faster
    graph = Graph()
    form = av.VideoFormat("rgb24", width, height)
    source = graph.add_buffer(width=width, height=height, format=form, time_base=tick)
    split = graph.add("split")
    # One palette for all frames, so that still parts do not flicker.
    palette = graph.add("palettegen", "reserve_transparent=0")
    dither = graph.add("paletteuse", "dither=floyd_steinberg")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(dither, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(dither, 0, 1)
    dither.link_to(sink)
    graph.configure()
    count = 0
    for pixels in frames:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = round(count * ticks), tick
        source.push(frame)
        count += 1
    source.push(None)

    last = round(count * ticks) - round((count - 1) * ticks)
    options = {"loop": "0", "final_delay": str(last)}
    with av.open(str(path), "w", format="gif", options=options) as container:
        stream = container.add_stream("gif", rate=100)
        stream.height, stream.width = height, width
        stream.pix_fmt = "pal8"
        for _ in range(count):
            container.mux(stream.encode(graph.vpull()))
        container.mux(stream.encode(None))


def _write_folder(path: Path, frames: Frames) -> None:
    path.mkdir()
    for index, pixels in enumerate(frames):
        write_image(path / f"{index:04d}.png", pixels)
