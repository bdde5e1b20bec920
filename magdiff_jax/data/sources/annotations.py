"""The layout that the authors' released code trains from: a file of annotations, frame folders and mask folders."""

from pathlib import Path
from typing import NamedTuple

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Clip
from magdiff_jax.data.sources.layout import first_there, inside, read_lines
from magdiff_jax.data.sources.pictures import PictureClip
from magdiff_jax.errors import UserError
from magdiff_jax.media.readers import DEFAULT_FPS
from magdiff_jax.places import place
from magdiff_jax.text import parse_json

OBTAIN = "its lines have vid, tar, text and coordinates; see data/README.md"


class _Line(NamedTuple):
    video: str
    archive: str
    captions: tuple[str, ...]
    frames: tuple[int, ...] | None


class AnnotationsSource:
    """The clips of a JSON-lines file, as the released loader reads them.

    A line is `{"vid": …, "tar": …, "text": …, "coordinates": […]}`:

    - the frames are `videos/<tar>/raw_vid/<vid>/frame_<number>.jpg`, in the order of their numbers;
    - their masks are `mask/<tar>/<vid>/<number>.png`, where all but black is the subject; a video without such a
      folder is a clip with a null mask;
    - `text` is the caption, or a list of captions to choose from;
    - `coordinates` are the positions, from 0, of the frames that make the clip; without them, it is the whole video.

    Args:
        folder: with the annotations, `videos/` and `mask/`.
        annotations: the file's name within `folder`.
        caption: which of several captions to take, from 0; the last where there are fewer. The others are in the
            provenance.
        fps: frames per second, which the layout does not tell.

    Raises:
        ConfigError: a caption below 0, or a rate that is not positive.
        UserError: the folder is not laid out like this, or a line is not as above.
    """

    def __init__(
        self,
        folder: str | Path,
        annotations: str = "annotations.jsonl",
        caption: int = 0,
        fps: float = float(DEFAULT_FPS),
    ):
        if caption < 0 or not fps > 0:
            raise ConfigError(f"annotations caption {caption}, fps {fps}: must be at least 0, and over 0")
        top = place(folder)
        self._caption, self._fps = caption, float(fps)
        path = first_there(top, (annotations,), "the annotations", OBTAIN)
        self._pictures = first_there(top, ("videos",), "the folder of videos", OBTAIN)
        self._labels = first_there(top, ("mask",), "the folder of masks", OBTAIN)
        self._lines = [_parse(line, f"{path}, annotation {number}") for number, line in enumerate(read_lines(path))]
        if not self._lines:
            raise UserError(f"{path} is empty: {OBTAIN}")

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Clip:
        line = self._lines[index]
        pictures = inside(self._pictures, f"{line.archive}/raw_vid/{line.video}")
        labels = inside(self._labels, f"{line.archive}/{line.video}")
        chosen = min(self._caption, len(line.captions) - 1)
        caption = line.captions[chosen]
        known = {
            # With its place in the file, since several clips may come from one video.
            "id": f"{line.archive}/{line.video}/{index}",
            "source": "annotations",
            "caption": caption,
            "augmented_caption": caption,
            "provenance": {
                "caption": {"from": "text", "number": chosen},
                "other_captions": [*line.captions[:chosen], *line.captions[chosen + 1 :]],
                "masks": {"from": "mask folder"} if labels.is_dir() else None,
                "frames": None if line.frames is None else list(line.frames),
            },
        }
        return PictureClip(pictures, labels if labels.is_dir() else None, self._fps, known, selected=line.frames)


def _parse(line: str, where: str) -> _Line:
    values = parse_json(line, where)
    try:
        video, archive, text = values["vid"], values["tar"], values["text"]
        frames = values.get("coordinates")
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{where}: {OBTAIN}") from None
    captions = text if isinstance(text, list) else [text]
    if not (captions and all(isinstance(name, str) for name in (video, archive, *captions))):
        raise UserError(f"{where}: vid and tar must be names, and text a caption or a list of captions")
    if frames is not None and not (isinstance(frames, list) and frames and all(type(at) is int for at in frames)):
        raise UserError(f"{where}: coordinates must be positions of frames, such as [0, 1, 2]")
    return _Line(video, archive, tuple(captions), None if frames is None else tuple(frames))
