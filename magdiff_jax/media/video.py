"""Clips: read videos, animations and folders of pictures; write MP4, GIF and folders of PNGs."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.errors import UserError
from magdiff_jax.media.container import open_stream, to_picture
from magdiff_jax.media.images import Picture, count_frames, read_animation, read_image, write_image
from magdiff_jax.replacing import replacing

# Where a source has no rate of its own (a folder, a still picture).
DEFAULT_FPS = 8.0

_PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
_OUTPUT_SUFFIXES = (".mp4", ".gif", "")

# One frame of a source: a call that gives its pixels, and the seconds it is shown.
_Frame = tuple[Callable[[], Picture], Fraction]


@dataclass(frozen=True)
class Clip:
    """Frames in time order with their rate: the source's frames per second over the stride."""

    frames: UInt8[np.ndarray, "frame height width 3"]
    fps: float


def read_video(path: str | Path, frames: int, start: int = 0, stride: int = 1) -> Clip:
    """Reads frames `start`, `start + stride`, … (`frames` of them) and decodes no further.

    `path` is a video file, an animated picture (GIF, WebP, PNG), or a folder of pictures of one
    size, taken in natural order (`2.png` before `10.png`). Rotation metadata is applied.

    Raises:
        UserError: the source is missing, unreadable, without pictures, too short, of changing
            size or over `MAX_PIXELS` a frame.
    """
    pictures, fps = read_pictures(path, frames, start, stride)
    return Clip(np.stack([picture.rgb for picture in pictures]), fps)


def read_pictures(path: str | Path, frames: int, start: int = 0, stride: int = 1) -> tuple[list[Picture], float]:
    """Does what `read_video` does, and keeps the transparency of the frames."""
    path = Path(path)
    if frames < 1 or start < 0 or stride < 1:
        given = f"frames {frames}, start {start}, stride {stride}"
        raise UserError(f"{given}: must be at least 1, 0 and 1")
    wanted = range(start, start + frames * stride, stride)
    pictures: list[Picture] = []
    count, seconds = 0, Fraction(0)
    for count, (decode, duration) in enumerate(_open(path), 1):
        seconds += duration
        if count - 1 in wanted:
            pictures.append(decode())
            _check_same_size(path, pictures)
        if count > wanted[-1]:
            return pictures, float(count / seconds / stride)
    raise _too_few(path, count, wanted)


def _open(path: Path) -> Iterator[_Frame]:
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    return _open_animation(path) if count_frames(path) else _open_video(path)


def _open_folder(path: Path) -> Iterator[_Frame]:
    for file in picture_files(path):
        yield partial(read_image, file), 1 / Fraction(DEFAULT_FPS)


def picture_files(folder: Path) -> list[Path]:
    """Returns the pictures in a folder, in natural order. Raises UserError where there are none."""
    files = [file for file in folder.glob("[!.]*") if is_picture_name(file.name)]
    if not files:
        raise UserError(f"{folder} holds no pictures: name a folder of PNG or JPEG files")
    return sorted(files, key=_natural_order)


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return Path(name).suffix.lower() in _PICTURE_SUFFIXES


def _natural_order(file: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", file.name)
    return [int(part) if part.isdecimal() else part for part in parts], file.name


def _open_animation(path: Path) -> Iterator[_Frame]:
    for picture, seconds in read_animation(path):
        yield partial(_itself, picture), seconds_shown(seconds)


def seconds_shown(seconds: Fraction) -> Fraction:
    """Returns for how long a viewer shows a frame of an animated picture whose file says `seconds`."""
    # Browsers show frames with almost no duration for a tenth of a second.
    return seconds if seconds > Fraction(1, 100) else Fraction(1, 10)


def _itself(picture: Picture) -> Picture:
    return picture


def _open_video(path: Path) -> Iterator[_Frame]:
    from av.error import FFmpegError

    with open_stream(path) as (container, stream):
        stream.thread_type = "AUTO"
        rate = stream.average_rate or Fraction(DEFAULT_FPS)
        try:
            for frame in container.decode(stream):
                yield partial(to_picture, frame), 1 / rate
        except FFmpegError:
            return  # damaged from here on: what came before is good


def _check_same_size(path: Path, pictures: list[Picture]) -> None:
    first, last = pictures[0].rgb.shape, pictures[-1].rgb.shape
    if first != last:
        raise UserError(
            f"{path} has frames of {first[1]}x{first[0]} and of {last[1]}x{last[0]}: all must have one size"
        )


def _too_few(path: Path, count: int, wanted: range) -> UserError:
    if count == 0:
        return UserError(f"{path} has no readable frame: it is empty, damaged or cut short")
    numbers = [str(index) for index in wanted]
    if len(numbers) > 4:
        numbers[2:-1] = ["…"]
    have = "1 frame" if count == 1 else f"{count} frames"
    need = f"frame {numbers[0]} is" if len(wanted) == 1 else f"frames {', '.join(numbers)} are"
    return UserError(f"{path} has {have}; {need} needed: choose a longer one or lower --frames/--stride")


def check_output(path: str | Path, overwrite: bool) -> None:
    """Says before any work whether `write_video` could write to `path`.

    Raises:
        UserError: the suffix is unknown; the parent folder is missing; something is there already
            and `overwrite` is not set; or it is no older output of the same kind.
    """
    form, path = _form(path), Path(path)
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


def check_fps(fps: int | float) -> None:
    """Raises UserError where a clip cannot be written at this rate."""
    if not (math.isfinite(fps) and 0.1 <= fps <= 1000):
        raise UserError(f"fps {fps}: must be between 0.1 and 1000")


def _is_ours(file: Path) -> bool:
    return file.is_file() and re.fullmatch(r"\d{4,}\.png", file.name) is not None


def _form(path: str | Path) -> str:
    """Returns the suffix that decides how a clip is written; "" is a folder of PNGs."""
    form = "" if str(path).endswith("/") else Path(path).suffix.lower()
    if form not in _OUTPUT_SUFFIXES:
        raise UserError(f"{path}: a clip is written as .mp4, .gif, or (without a suffix) a folder of PNG files")
    return form


def write_video(path: str | Path, frames: UInt8[np.ndarray, "frame height width 3"], fps: int | float) -> None:
    """Writes a clip, whole or not at all, in place of an older one.

    The suffix decides: `.mp4` (H.264; odd sizes grow by one repeated edge line), `.gif` (looping),
    or none (or a trailing slash) for a folder of PNGs `0000.png`, `0001.png`, …

    Raises:
        UserError: as `check_output(path, overwrite=True)` does; `fps` is outside [0.1, 1000]; or
            the operating system refuses to write.
    """
    check_output(path, overwrite=True)
    check_fps(fps)
    writers = {".mp4": _write_mp4, ".gif": _write_gif, "": _write_folder}
    with replacing(Path(path)) as new:
        writers[_form(path)](new, frames, fps)


def _write_mp4(path: Path, frames: UInt8[np.ndarray, "frame height width 3"], fps: int | float) -> None:
    import av

    # Chroma is stored for blocks of 2x2 pixels.
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        rate = Fraction(fps).limit_denominator(1001)
        # One thread: with more, the file's bytes would depend on how many cores there are.
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "threads": "1"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # Said outright, since players guess from the size when it is left open.
        bt709, limited_range = 1, 1
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = bt709
        context.color_range = limited_range
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_gif(path: Path, frames: UInt8[np.ndarray, "frame height width 3"], fps: int | float) -> None:
    import av
    from av.filter import Graph

    height, width = frames.shape[1:3]
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
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = round(index * ticks), tick
        source.push(frame)
    source.push(None)

    last = round(len(frames) * ticks) - round((len(frames) - 1) * ticks)
    options = {"loop": "0", "final_delay": str(last)}
    with av.open(str(path), "w", format="gif", options=options) as container:
        stream = container.add_stream("gif", rate=100)
        stream.height, stream.width = height, width
        stream.pix_fmt = "pal8"
        for _ in frames:
            container.mux(stream.encode(graph.vpull()))
        container.mux(stream.encode(None))


def _write_folder(path: Path, frames: UInt8[np.ndarray, "frame height width 3"], _: float) -> None:
    path.mkdir()
    for index, pixels in enumerate(frames):
        write_image(path / f"{index:04d}.png", pixels)
