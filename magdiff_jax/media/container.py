"""Video containers: opened safely, and their frames as pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import MAX_PIXELS, Picture

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Named one by one because FFmpeg also takes text for pictures and playlists that name other files.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,yuv4mpegpipe"


@contextmanager
def open_stream(path: Path, options: dict[str, str] | None = None) -> "Iterator[tuple[InputContainer, VideoStream]]":
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
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise UserError(
                f"{path} has frames of {width}x{height}, over {MAX_PIXELS / 1e6:.0f} megapixels: make it smaller"
            )
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # later frames may be larger
        yield container, stream


def to_picture(frame: Any) -> Picture:
    """Converts an `av.VideoFrame` to RGB, on one thread, and turns it upright, as its display matrix says."""
    rgb = frame.to_ndarray(format="rgb24", threads=1)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        # Fixed-point [[a, b, u], [c, d, v], …]: column = a·x + c·y, row = b·x + d·y.
        a, b, _, c, d = np.frombuffer(bytes(matrix), dtype="<i4")[:5]
        if abs(b) > abs(a):
            rgb, a, d = rgb.swapaxes(0, 1), c, b
        rgb = rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return Picture(np.ascontiguousarray(rgb), None)
