"""Video containers, opened safely."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import MAX_PIXELS

if TYPE_CHECKING:
    from av import VideoCodecContext
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Named one by one because FFmpeg also takes text for pictures and playlists that name other files.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,yuv4mpegpipe"
# FFmpeg's own decoders of these pass their transparency by.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class Video(NamedTuple):
    """An open container with its pictures.

    Attributes:
        container: open.
        stream: of the pictures.
        decoder: of them.
        aspect: width of a pixel by its height.
    """

    container: "InputContainer"
    stream: "VideoStream"
    decoder: "VideoCodecContext"
    aspect: Fraction


@contextmanager
def open_video(path: Path, options: dict[str, str] | None = None) -> Iterator[Video]:
    """Opens the container of a video and finds its pictures, cover art aside.

    Args:
        path: of a file that is there.
        options: of FFmpeg, for the decoders it looks into the streams with.

    Raises:
        UserError: it is no video, has sound only, or frames over `MAX_PIXELS`.
    """
    import av
    from av.error import FFmpegError
    from av.stream import Disposition

    try:
        # An absolute path cannot be taken for a protocol ("http:…"); tags may be in any encoding.
        container = av.open(
            str(path.absolute()),
            options={"format_whitelist": _CONTAINERS, **(options or {})},
            metadata_errors="ignore",
        )
    except FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video: it is damaged or of a kind not known here") from error
    with container:
        streams = container.streams.video
        stream = next((s for s in streams if not s.disposition & Disposition.attached_pic), None)
        if stream is None:
            raise UserError(f"{path} has no video stream: choose a file with pictures")
        decoder = stream.codec_context
        if decoder is None:
            raise UserError(f"{path} has no readable frame: it is cut short, or of a kind not known here")
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        width, height = shown_size(decoder.width, decoder.height, aspect)
        if width * height > MAX_PIXELS:
            raise UserError(
                f"{path} has frames of {width}x{height}, over {MAX_PIXELS / 1e6:.0f} megapixels: make it smaller"
            )
        if stream.metadata.get("alpha_mode") == "1" and decoder.name in _WITH_ALPHA:
            with_alpha: Any = av.VideoCodecContext.create(_WITH_ALPHA[decoder.name], "r")
            decoder = with_alpha
        decoder.options = {"max_pixels": str(MAX_PIXELS)}  # later frames may be larger
        yield Video(container, stream, decoder, aspect)


def shown_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height at which a frame is shown, as one with square pixels: its longer side grows, none shrinks."""
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
