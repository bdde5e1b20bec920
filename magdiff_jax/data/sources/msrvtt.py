"""MSR-VTT (Xu et al., CVPR 2016): 10,000 web videos with about twenty captions each."""

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Clip
from magdiff_jax.data.files import open_clip
from magdiff_jax.data.sources.layout import first_there, inside, read_json
from magdiff_jax.errors import UserError
from magdiff_jax.places import Place, place

SPLITS = ("train", "validate", "test")
OBTAIN = (
    "put the videos (video0.mp4, …) in TrainValVideo/ and TestVideo/ or all in videos/all/, and "
    "train_val_videodatainfo.json and test_videodatainfo.json (or MSRVTT_data.json) beside them; see data/README.md"
)

_ANNOTATIONS = {
    "train": ("train_val_videodatainfo.json", "MSRVTT_data.json"),
    "validate": ("train_val_videodatainfo.json", "MSRVTT_data.json"),
    "test": ("test_videodatainfo.json", "MSRVTT_data.json"),
}
_BELOW = ("", "annotation/", "annotations/", "msrvtt_data/")
_VIDEOS = {
    "train": ("TrainValVideo", "videos/all", "videos"),
    "validate": ("TrainValVideo", "videos/all", "videos"),
    "test": ("TestVideo", "videos/all", "videos"),
}


class _Video(NamedTuple):
    path: Place
    caption: str
    provenance: dict[str, Any]


class MsrVttSource:
    """The videos of one split, each a clip with one of its captions; the subject is not known.

    The other captions, the category's number and the place in the original video are in the provenance. A video that
    is annotated but not there raises UserError when it is read.

    Args:
        folder: with the videos in `TrainValVideo/`, `TestVideo/`, `videos/all/` or `videos/`, and the annotations
            beside them or in `annotation/`, `annotations/` or `msrvtt_data/`.
        split: "train" (6,513 videos), "validate" (497) or "test" (2,990).
        caption: which of a video's captions to take, from 0.

    Raises:
        ConfigError: another split, or a caption below 0.
        UserError: the folder is not laid out like this, the annotations are damaged, or a video has fewer captions.
    """

    def __init__(self, folder: str | Path, split: str = "train", caption: int = 0):
        if split not in SPLITS:
            raise ConfigError(f"MSR-VTT split {split!r}: must be one of {', '.join(SPLITS)}")
        if caption < 0:
            raise ConfigError(f"MSR-VTT caption {caption}: must be at least 0")
        top = place(folder)
        videos = first_there(top, _VIDEOS[split], "MSR-VTT's videos", OBTAIN)
        names = tuple(below + name for name in _ANNOTATIONS[split] for below in _BELOW)
        annotations = first_there(top, names, "MSR-VTT's annotations", OBTAIN)
        self._videos = _read(annotations, videos, split, caption)

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> Clip:
        video = self._videos[index]
        return open_clip(
            video.path, id=video.path.stem, source="msrvtt", caption=video.caption, provenance=video.provenance
        )


def _read(annotations: Place, videos: Place, split: str, caption: int) -> list[_Video]:
    values = read_json(annotations)
    try:
        captions: dict[str, list[str]] = defaultdict(list)
        for sentence in sorted(values["sentences"], key=lambda sentence: sentence["sen_id"]):
            captions[sentence["video_id"]].append(str(sentence["caption"]))
        chosen = [video for video in values["videos"] if video["split"] == split]
        chosen.sort(key=lambda video: video["id"])
        found = [_video(video, captions[video["video_id"]], videos, caption) for video in chosen]
    except (KeyError, TypeError) as error:
        raise UserError(f"{annotations} is no MSR-VTT annotation (with videos and sentences): {error!r}") from None
    if not found:
        raise UserError(f"{annotations} has no videos of split {split!r}: take the annotations of that split")
    return found


def _video(video: dict[str, Any], captions: list[str], videos: Place, caption: int) -> _Video:
    path = inside(videos, video["video_id"] + ".mp4")
    if caption >= len(captions):
        raise UserError(f"{video['video_id']} has {len(captions)} captions: caption {caption} is not there")
    provenance = {
        "caption": {"from": "MSR-VTT", "number": caption},
        "other_captions": captions[:caption] + captions[caption + 1 :],
        "category": video.get("category"),
        "url": video.get("url"),
        "seconds": [video.get("start time"), video.get("end time")],
    }
    return _Video(path, captions[caption], provenance)
