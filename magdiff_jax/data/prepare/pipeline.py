"""The stages as an Apache Beam pipeline: videos in, outcomes in a `Store` out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from magdiff_jax.config import ConfigError
from magdiff_jax.data.builder import features
from magdiff_jax.data.clip import ClipInfo, DecodedClip
from magdiff_jax.data.prepare.annotate import Area, Ask, Cut, Label, Segment
from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.cut import Part, parts
from magdiff_jax.data.prepare.rules import check_short_side
from magdiff_jax.data.prepare.stages import Rejected
from magdiff_jax.data.prepare.store import Rejection, Store
from magdiff_jax.data.records import encode
from magdiff_jax.errors import UserError, refusals_told
from magdiff_jax.text import check_whole

_STAGES = (Ask, Label, Segment, Area)


def run(
    config: PrepareConfig, videos: Sequence[tuple[str, int]], store: Store, runner: str, options: Sequence[str]
) -> None:
    """Find out what becomes of each clip of these videos, but for those that the store knows already.

    Args:
        config: what is done.
        videos: split and index of each.
        store: where outcomes go; a folder that all workers reach.
        runner: Beam's name for it.
        options: Beam's own flags.

    Raises:
        UserError: a stage cannot start, for want of a model or a file.
    """
    try:
        with beam.Pipeline(runner, PipelineOptions(list(options))) as pipeline:
            # Shuffled, since what follows a step without one runs on one worker.
            clips = (
                pipeline
                | "videos" >> beam.Create(videos, reshuffle=False)
                | "spread videos" >> beam.Reshuffle()
                | "probe" >> beam.ParDo(_Probe(config, store))
                | "spread clips" >> beam.Reshuffle()
                | "cut" >> beam.ParDo(_Cut(config, store))
            )
            for stage in _STAGES:
                clips = clips | stage.__name__.lower() >> beam.ParDo(_Stage(stage, config, store))
            clips | "keep" >> beam.ParDo(_Keep(store))
    except Exception as error:
        # Beam tells of a worker's exception in the text of its own, and adds where it was to those of this process.
        text = f"{type(error).__name__}: {error}".partition(" [while running")[0]
        for kind in (UserError, ConfigError):
            _, found, message = text.rpartition(f"{kind.__name__}: ")
            if found:
                raise kind(message.splitlines()[0]) from error
        raise


class _Step(beam.DoFn):
    """Puts aside what fails, with its reason, and goes on."""

    def __init__(self, store: Store):
        self._store = store

    def attempt(self, split: str, identifier: str, work: Callable[..., Iterator[Any]], *given: Any) -> Iterator[Any]:
        """What `work` yields from (split, *given), up to where it fails."""
        try:
            yield from work(split, *given)
        except Rejected as error:
            self._store.reject(Rejection(identifier, split, error.rule, error.reason))
        except (UserError, ConfigError):
            raise  # a model that is not there: so it would be for every clip
        except Exception as error:  # whatever a video does to a library must not end the others
            self._store.reject(Rejection(identifier, split, "error", f"{type(error).__name__}: {error}"))


class _Probe(_Step):
    """(split, index) → (split, index, part) for all parts whose outcome is not known."""

    def __init__(self, config: PrepareConfig, store: Store):
        super().__init__(store)
        self._config = config

    def setup(self) -> None:
        self._cut = Cut(self._config)

    def process(self, video: tuple[str, int]) -> Iterator[tuple[str, int, Part]]:
        split, index = video
        identifier = self._cut.id(split, index)
        if not self._store.has(split, identifier):
            for info in self.attempt(split, identifier, self._known, index):
                yield from self.attempt(split, info.id, self._planned, index, info)

    def _known(self, split: str, index: int) -> Iterator[ClipInfo]:
        try:
            with refusals_told():
                info = self._cut.clip(split, index).info
            yield info
        except UserError as error:
            raise Rejected("unreadable", str(error)) from error

    def _planned(self, split: str, index: int, info: ClipInfo) -> Iterator[tuple[str, int, Part]]:
        try:
            for what in ("id", "caption", "augmented_caption", "label"):
                check_whole(getattr(info, what), f"its {what}")
        except UserError as error:
            raise Rejected("text", str(error)) from error
        if self._config.training:
            check_short_side(info.height, info.width, self._config.rules.short_side)
        for part in parts(info, self._config.cut):
            if not self._store.has(split, part.id):
                yield split, index, part


class _Cut(_Step):
    """(split, index, part) → (split, clip)."""

    def __init__(self, config: PrepareConfig, store: Store):
        super().__init__(store)
        self._config = config

    def setup(self) -> None:
        self._cut = Cut(self._config)

    def process(self, element: tuple[str, int, Part]) -> Iterator[tuple[str, DecodedClip]]:
        split, index, part = element
        yield from self.attempt(split, part.id, self._decoded, index, part)

    def _decoded(self, split: str, index: int, part: Part) -> Iterator[tuple[str, DecodedClip]]:
        yield split, self._cut(split, index, part)


class _Stage(_Step):
    """(split, clip) → (split, clip) with more known of it."""

    def __init__(self, stage: Callable, config: PrepareConfig, store: Store):
        super().__init__(store)
        self._make, self._config = stage, config

    def setup(self) -> None:
        self._stage = self._make(self._config)

    def process(self, element: tuple[str, DecodedClip]) -> Iterator[tuple[str, DecodedClip]]:
        split, clip = element
        yield from self.attempt(split, clip.info.id, self._staged, clip)

    def _staged(self, split: str, clip: DecodedClip) -> Iterator[tuple[str, DecodedClip]]:
        yield split, self._stage(clip)


class _Keep(_Step):
    """(split, clip) → a record in the store."""

    def setup(self) -> None:
        self._features = features()

    def process(self, element: tuple[str, DecodedClip]) -> None:
        split, clip = element
        for record in self.attempt(split, clip.info.id, self._encoded, clip):
            self._store.keep(split, clip.info.id, record)

    def _encoded(self, _: str, clip: DecodedClip) -> Iterator[bytes]:
        yield self._features.serialize_example(self._features.encode_example(encode(clip)))
