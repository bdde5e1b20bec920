"""The loader: sources of clips → batches, the same ones in the same order for a seed.

Each example is a pure function of the config and of its position in one endless stream that all processes share.
So a checkpoint is one number, and it holds for any number of processes and workers.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from magdiff_jax.config import Config, ConfigError
from magdiff_jax.cutout import BLACK, CLIP_CROP, cut_out, level_sizes
from magdiff_jax.data.augment import AugmentConfig, augment_subject
from magdiff_jax.data.clip import Clip
from magdiff_jax.data.sources import open_source
from magdiff_jax.data.transforms import choose_frames, choose_window
from magdiff_jax.media.images import Window, fit

# Examples in the stream: more than anyone draws, and few enough for Grain's arithmetic on lengths.
ENDLESS = 2**53

SUBJECTS = ("first", "all", "random", "none")

Images = UInt8[np.ndarray, "*_batch _image _height _width 3"]
Tokenize = Callable[[Sequence[str]], Int[np.ndarray, "_prompt _token"]]
AnyBatch = TypeVar("AnyBatch")


class Batch(NamedTuple):
    """What a training step takes. Pixels are uint8, black is 0; they are scaled to [-1, 1] on the device.

    Attributes:
        frames: the clips, [batch, frame, height, width, 3].
        subjects: HFA's cut-outs for each level of the pyramid, [batch, subject frame, level height, level width, 3].
        image_prompts: APA's cut-outs, [batch, subject frame, crop, crop, 3].
        coverage: the subject's share of each latent's pixels, 0 … 1; [batch, 0, 0, 0] where it is not asked for.
        tokens: the prompts' ids, int32 [batch, token].
        positions: of the examples in the stream, int64 [batch]; the seeds of whatever else is random about them.
        lost: frames that should show the subject, whose mask has nothing in the part that is kept, so that the whole
            frame stands for it; int64 [batch].
        ids: of the clips, `source/id`.
        prompts: as they were before they became tokens; empty where dropped.
    """

    frames: UInt8[np.ndarray, "_batch _frame _height _width 3"]
    subjects: tuple[Images, ...]
    image_prompts: Images
    coverage: Float[np.ndarray, "_batch _frame _row _column"]
    tokens: Int[np.ndarray, "_batch _token"]
    positions: Int[np.ndarray, " _batch"]
    lost: Int[np.ndarray, " _batch"]
    ids: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class LoaderConfig(Config):
    """Which clips, and what is made of them.

    Attributes:
        sources: as `sources.open_source` takes them, each with a "weight" (default 1): its share of the examples.
        batch_size: of all processes together.
        seed: of the order and of all that is random about an example.
        shuffle: draw each source's clips in a new order every time through it; else in its own order.
        frames: of an example.
        stride: from one frame to the next.
        offset: the frame of a clip at which an example starts; "random": any that leaves room for the others.
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        crop: the part of the frames that is kept: "centre" (supplement, section B), "random", or "subject", which moves
            the centre's so far that it shows the subject of the frames that show it to the model.
        flip: mirror half of the clips; captions that say left or right do not follow.
        subjects: the frames that show the subject: "first" (generation), "all" (editing), "none", or "random", which
            trains for both: half of the examples show it in the first frame alone, the other half in each further frame
            with a probability of their own, spread evenly.
        sda: cut subjects out by their masks; False: whole frames (the paper's ablation).
        levels: HFA's pyramid in pixels of a 256-pixel video, the last one at the video's own size; empty: no HFA.
        latent_multiple: pixels of one latent; the levels' sizes are multiples of it.
        clip_crop: side of the square that APA's vision tower starts from, in pixels; 0: no APA.
        coverage: say in which latents the subject is; nowhere where its mask is null.
        caption: which one is the prompt: "augmented" (with the label, supplement, section C) or "original".
        prompt_dropout: the probability that a prompt is left empty (supplement, section B).
        augment: of the subjects.
        threads: that decode and transform in each process, 0 for none besides the caller's.
        workers: processes that do so; 0: threads alone.
        buffer: batches that are made ahead.
    """

    sources: tuple[Mapping[str, Any], ...]
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    frames: int = 8
    stride: int = 1
    offset: int | Literal["random"] = "random"
    height: int = 256
    width: int = 256
    crop: Literal["centre", "random", "subject"] = "centre"
    flip: bool = False
    subjects: Literal["first", "all", "random", "none"] = "first"
    sda: bool = True
    levels: tuple[int, ...] = (384, 320, 256)
    latent_multiple: int = 8
    clip_crop: int = CLIP_CROP
    coverage: bool = False
    caption: Literal["augmented", "original"] = "augmented"
    prompt_dropout: float = 0.15
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    threads: int = 2
    workers: int = 0
    buffer: int = 2

    def __post_init__(self) -> None:
        self._require("sources", len(self.sources) > 0, "at least one source")
        self._require_positive("batch_size", "frames", "stride", "height", "width", "levels", "latent_multiple")
        if self.offset != "random":
            self._require_number("offset", 0)
        self._require("crop", self.crop in ("centre", "random", "subject"), "centre, random or subject")
        self._require("subjects", self.subjects in SUBJECTS, f"one of {SUBJECTS}")
        self._require("caption", self.caption in ("augmented", "original"), "augmented or original")
        self._require_number("prompt_dropout", 0, 1)
        for key in ("seed", "clip_crop", "threads", "workers"):
            self._require_number(key, 0)
        self._require_positive("buffer")
        for source in self.sources:
            if not source.get("weight", 1) > 0:
                raise ConfigError(f"LoaderConfig.sources: weight {source['weight']!r} must be above 0")

    @property
    def shown(self) -> int:
        """Frames of an example for which there are cut-outs, black ones included."""
        return {"none": 0, "first": 1}.get(self.subjects, self.frames)

    def decisive(self) -> dict[str, Any]:
        """All that decides which example stands at a position."""
        values = self.to_dict()
        for key in ("batch_size", "threads", "workers", "buffer"):
            del values[key]
        return values

    def fingerprint(self) -> str:
        """Of `decisive`."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()[:16]


def drops_prompt(config: LoaderConfig, position: int) -> bool:
    """Whether the prompt of the example at a position is left empty."""
    return bool(np.random.default_rng((config.seed, position)).random() < config.prompt_dropout)


def make_loader(config: LoaderConfig, tokenize: Tokenize, process: int = 0, processes: int = 1) -> "Loader[Batch]":
    """The batches of one process.

    Args:
        config: the same in all processes.
        tokenize: prompts → token ids of one length, such as `Tokenizer.ids`; must be picklable if there are workers.
        process: index of this process.
        processes: how many share the stream; each takes its part of every batch, in order.

    Raises:
        ConfigError: `batch_size` does not divide among the processes, or a source is not one.
        UserError: a source is not there.
    """
    return Loader(config, _stream(config, tokenize), _batch, process, processes)


class Loader(Generic[AnyBatch]):
    """An endless iterator over batches; see `make_loader`.

    Its state is the position in the stream: it can be taken after any batch, and given to a loader with another batch
    size, or other numbers of processes and workers.
    """

    def __init__(
        self,
        config: LoaderConfig,
        stream: Any,
        join: Callable[[Sequence[AnyBatch]], AnyBatch],
        process: int,
        processes: int,
    ):
        """
        Args:
            config: of the stream, and of how it is read.
            stream: all examples, by position: a grain.MapDataset of batches of one, without their first axis.
            join: examples → the batch of them.
            process: see `make_loader`.
            processes: see `make_loader`.

        Raises:
            ConfigError: `batch_size` does not divide among the processes.
        """
        if not 0 <= process < processes:
            raise ConfigError(f"process {process} of {processes}: must be 0 to {processes - 1}")
        if config.batch_size % processes:
            raise ConfigError(f"batch_size {config.batch_size} does not divide among {processes} processes")
        self.config = config
        self.process, self.processes = process, processes
        self._stream, self._join = stream, join
        self._position = 0
        self._iterator: Any = None

    def __iter__(self) -> "Loader[AnyBatch]":
        return self

    def __next__(self) -> AnyBatch:
        if self._iterator is None:
            self._iterator = self._start()
        batch = next(self._iterator)
        self._position += self.config.batch_size
        return batch

    def get_state(self) -> dict[str, Any]:
        """What `set_state` takes; JSON."""
        return {"position": self._position, "fingerprint": self.config.fingerprint()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from where a loader was when its state was taken.

        Raises:
            ConfigError: the state belongs to a config with other examples.
        """
        if state["fingerprint"] != self.config.fingerprint():
            raise ConfigError(
                "the loader's state belongs to another data config: take the sources, seed and transforms of that run"
            )
        self.close()
        self._position = state["position"]

    def close(self) -> None:
        """End the threads and workers; the loader can still go on from its state."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None

    def __enter__(self) -> "Loader[AnyBatch]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> Any:
        import grain

        share = self.config.batch_size // self.processes
        batches = self._stream[self._position :].batch(share, batch_fn=self._join)[self.process :: self.processes]
        read = grain.ReadOptions(self.config.threads, self.config.buffer if self.config.threads else 0)
        dataset = batches.to_iter_dataset(read)
        if self.config.workers:
            _mark_flags_as_parsed()
            dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(self.config.workers, self.config.buffer))
        return iter(dataset)


class _Example:
    """Makes the example at a position from its clip."""

    def __init__(self, config: LoaderConfig, tokenize: Tokenize):
        self._config = config
        self._tokenize = tokenize
        self._sizes = level_sizes(config.levels, config.height, config.width, config.latent_multiple)

    def __call__(self, position: int, clip: Clip) -> Batch:
        """A batch of one, without its first axis."""
        config, info = self._config, clip.info
        rng = np.random.default_rng((config.seed, position))
        _, flip, change = rng.random(3)  # the first number is that of `drops_prompt`

        offset = rng if config.offset == "random" else config.offset
        areas = clip.areas if config.subjects == "first" else None
        indices = choose_frames(info.length, config.frames, config.stride, offset, areas)
        frames = clip.frames(indices)
        shown = config.shown
        needed = len(indices) if config.coverage else shown if config.sda else 0
        masks = clip.masks(indices[:needed]) if needed else None
        size = info.height, info.width, config.height, config.width
        window = choose_window(*size, config.crop, rng, None if masks is None else masks[:shown])
        coverage = self._coverage(masks, window)
        masks = masks[:shown] if masks is not None and config.sda else None
        subject = frames[:shown]
        if shown and change < config.augment.probability:
            subject, masks = self._augment(subject, masks, rng)
        hidden = _hidden(shown, rng) if config.subjects == "random" else np.zeros(shown, bool)

        prompt = info.augmented_caption if config.caption == "augmented" else info.caption
        prompt = "" if drops_prompt(config, position) else prompt
        mirrored = slice(None, None, -1 if config.flip and flip < 0.5 else None)

        def cut(height: int, width: int) -> np.ndarray:
            if not shown:
                return np.zeros((0, height, width, 3), np.uint8)
            cutouts = cut_out(subject, masks, height, width, window, quiet=True)[:, :, mirrored]
            cutouts[hidden] = BLACK
            return cutouts

        return Batch(
            frames=np.stack([fit(frame, config.height, config.width, window) for frame in frames])[:, :, mirrored],
            subjects=tuple(cut(*size) for size in self._sizes),
            image_prompts=cut(config.clip_crop, config.clip_crop) if config.clip_crop else frames[:0, :0, :0],
            coverage=coverage[:, :, mirrored],
            tokens=self._tokenize([prompt])[0],
            positions=np.array(position, np.int64),
            lost=np.array(_lost(masks, window), np.int64),
            ids=(f"{info.source}/{info.id}",),
            prompts=(prompt,),
        )

    def _coverage(
        self, masks: Bool[np.ndarray, "_frame _height _width"] | None, window: Window
    ) -> Float[np.ndarray, "_frame _row _column"]:
        config = self._config
        if not config.coverage:
            return np.zeros((0, 0, 0), np.float32)
        side = config.latent_multiple
        rows, columns = config.height // side, config.width // side
        if masks is None:
            return np.zeros((config.frames, rows, columns), np.float32)
        fitted = np.stack([fit(mask, config.height, config.width, window) for mask in masks])
        return fitted.reshape(-1, rows, side, columns, side).mean(axis=(2, 4), dtype=np.float32)

    def _augment(self, frames: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator) -> tuple:
        """All frames of a subject change alike."""
        seed = int(rng.integers(2**63))
        changed = [
            augment_subject(frame, mask, self._config.augment, np.random.default_rng(seed))
            for frame, mask in zip(frames, repeat(None) if masks is None else masks, strict=masks is not None)
        ]
        new_frames, new_masks = zip(*changed, strict=True)
        return np.stack(new_frames), None if masks is None else np.stack(new_masks)


def _lost(masks: Bool[np.ndarray, "_frame _height _width"] | None, window: Window) -> int:
    """How many masks have nothing in the window."""
    left, top, right, bottom = window
    return 0 if masks is None else int((~masks[:, top:bottom, left:right].any(axis=(1, 2))).sum())


def _hidden(frames: int, rng: np.random.Generator) -> Bool[np.ndarray, " frame"]:
    """The frames that do not show the subject where `subjects` is "random"."""
    probability = max(0.0, 2 * rng.random() - 1)
    hidden = rng.random(frames) >= probability
    hidden[0] = False
    return hidden


def _stream(config: LoaderConfig, tokenize: Tokenize) -> Any:
    """All examples, by position: a grain.MapDataset without end."""
    import grain

    endless, weights = [], []
    for index, spec in enumerate(config.sources):
        arguments = dict(spec)
        weights.append(arguments.pop("weight", 1))
        clips = grain.MapDataset.source(open_source(arguments)).seed(config.seed + index)
        endless.append((clips.shuffle() if config.shuffle else clips).repeat())
    mixed = grain.MapDataset.mix(endless, weights) if len(endless) > 1 else endless[0]
    return mixed[:ENDLESS].map_with_index(_Example(config, tokenize))


def _batch(examples: Sequence[Batch]) -> Batch:
    """Examples side by side."""
    return Batch(
        frames=np.stack([example.frames for example in examples]),
        subjects=tuple(np.stack(level) for level in zip(*(example.subjects for example in examples), strict=True)),
        image_prompts=np.stack([example.image_prompts for example in examples]),
        coverage=np.stack([example.coverage for example in examples]),
        tokens=np.stack([example.tokens for example in examples]),
        positions=np.stack([example.positions for example in examples]),
        lost=np.stack([example.lost for example in examples]),
        ids=tuple(identifier for example in examples for identifier in example.ids),
        prompts=tuple(prompt for example in examples for prompt in example.prompts),
    )


def _mark_flags_as_parsed() -> None:
    # Grain's workers read absl's flags, which only absl's own programs parse.
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
