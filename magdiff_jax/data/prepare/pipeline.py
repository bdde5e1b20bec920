"""The stages as an Apache Beam pipeline: videos in, outcomes in a `Store` out; then records into shards."""

import dataclasses
import errno
import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from magdiff_jax.config import ConfigError
from magdiff_jax.data.builder import features
from magdiff_jax.data.clip import Clip, DecodedClip
from magdiff_jax.data.files import FileClip
from magdiff_jax.data.prepare.annotate import Area, Ask, Label, Segment, Stage
from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.cut import Part, cut, parts
from magdiff_jax.data.prepare.failures import of_the_machine
from magdiff_jax.data.prepare.listing import Video
from magdiff_jax.data.prepare.loopback import listening_here_alone
from magdiff_jax.data.prepare.rules import check_short_side
from magdiff_jax.data.prepare.stages import Rejected
from magdiff_jax.data.prepare.store import Rejection, Store
from magdiff_jax.data.records import encode
from magdiff_jax.data.sources.pictures import PictureClip
from magdiff_jax.errors import Stopped, UserError, refusals_told
from magdiff_jax.places import fetched, is_remote
from magdiff_jax.text import check_whole

# Seconds to wait before a step is tried again where the machine failed: a file system may come back.
_WAITS = (1.0, 5.0)
# How many machines, or runs, may give up on a clip before it is put aside.
_MOST_TRIES = 3
# What clips of files have to say of where these are.
_PATHS = ("path", "mask_path", "pictures", "labels")
# Videos that travel together, which say what they have in common once.
_TOGETHER = 500


def run(
    config: PrepareConfig,
    words: Mapping[str, str],
    videos: Sequence[Video],
    store: Store,
    most_errors: int,
    runner: str,
    options: PipelineOptions,
) -> None:
    """Find out what becomes of each clip of these videos, but for those that the store knows already.

    Args:
        config: what is done.
        words: W, with the category of each.
        videos: whose outcome is not known.
        store: where outcomes go; a folder that all workers reach.
        most_errors: with more clips that end in an error the run stops.
        runner: Beam's name for it.
        options: Beam's own.

    Raises:
        UserError: a stage cannot start, for want of a model or a file.
        Stopped: a machine fails, or too many clips ended in an error.
    """
    step = _Settings(config, store, most_errors)
    stages: dict[str, Callable[[PrepareConfig], Stage]] = {
        "ask": Ask,
        "label": partial(Label, words=words),
        "segment": Segment,
        "area": Area,
    }
    together = [videos[start : start + _TOGETHER] for start in range(0, len(videos), _TOGETHER)]
    with listening_here_alone(), _faults_told(), beam.Pipeline(runner, options) as pipeline:
        # Shuffled, since what follows a step without one runs on one worker.
        clips = (
            pipeline
            | "videos" >> beam.Create(together, reshuffle=False)
            | "single" >> beam.FlatMap(lambda some: some)
            | "spread videos" >> beam.Reshuffle()
            | "probe" >> beam.ParDo(_Probe(step))
        )
        if config.cut.all_parts:
            clips = clips | "spread clips" >> beam.Reshuffle()
        clips = clips | "cut" >> beam.ParDo(_Cut(step))
        for name, stage in stages.items():
            clips = clips | name >> beam.ParDo(_Stage(stage, step))
        clips | "keep" >> beam.ParDo(_Keep(step))


def run_each(items: Iterable[Any], work: Callable[[Any], None], store: Store, runner: str, options: Any) -> None:
    """Do some work on each of some items on the workers. Raises Stopped where a machine fails."""
    with listening_here_alone(), _faults_told(), beam.Pipeline(runner, options) as pipeline:
        (
            pipeline
            | "items" >> beam.Create(list(items), reshuffle=False)
            | "spread items" >> beam.Reshuffle()
            | "work" >> beam.ParDo(_Each(work, store))
        )


@contextmanager
def _faults_told() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Beam tells of a worker's exception in the text of its own, and adds where it was to those of this process.
        text = f"{type(error).__name__}: {error}".partition(" [while running")[0]
        for kind in (UserError, ConfigError, Stopped):
            _, found, message = text.rpartition(f"{kind.__name__}: ")
            if found:
                raise kind(message.splitlines()[0]) from error
        raise


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What every step needs."""

    config: PrepareConfig
    store: Store
    most_errors: int


class _Step(beam.DoFn):
    """Puts aside what fails, with its reason, and goes on; stops where the machine fails."""

    def __init__(self, step: _Settings):
        self._config, self._store, self._most_errors = step.config, step.store, step.most_errors

    def setup(self) -> None:
        self._store.check()

    def attempt(self, split: str, identifier: str, work: Callable[..., list[Any]], *given: Any) -> list[Any]:
        """What `work` gives for (split, *given); nothing where it fails."""
        for wait in (*_WAITS, None):
            try:
                return work(split, *given)
            except Rejected as error:
                if not of_the_machine(error):
                    self._store.reject(Rejection(identifier, split, error.rule, error.reason))
                    return []
                fault: Exception = error
            except (UserError, ConfigError) as error:
                if not of_the_machine(error):
                    raise  # a model that is not there: so it would be for every clip
                fault = error
            except Stopped:
                raise
            except Exception as error:  # whatever a video does to a library must not end the others
                fault = error
                if not of_the_machine(error):
                    self._fail(split, identifier, f"{type(error).__name__}: {error}")
                    return []
            if wait is not None:
                gc.collect()
                time.sleep(wait)
        self._give_up(split, identifier, f"{type(fault).__name__}: {fault}")
        return []

    def _give_up(self, split: str, identifier: str, why: str) -> None:
        tries = self._store.count_try(split, identifier, why)
        if tries < _MOST_TRIES:
            raise Stopped(
                f"this machine failed at {identifier}: {' '.join(why.split())}; all outcomes so far are kept: "
                "mend it and start the same command again"
            )
        self._fail(split, identifier, f"{tries} machines or runs failed at it, lastly: {why}")

    def _fail(self, split: str, identifier: str, why: str) -> None:
        self._store.fail(Rejection(identifier, split, "error", why))
        check_errors(self._store, self._most_errors)


def check_errors(store: Store, most: int) -> None:
    """Raises Stopped where more clips ended in an error than may."""
    count = store.count_errors()
    if count > most:
        one = store.an_error()
        raise Stopped(
            f"{count} clip{'s' * (count > 1)} ended in an error, such as {one.id}: {' '.join(one.reason.split())}: "
            "more than the share most_errors of the config; all outcomes so far are kept, and the same command tries "
            "the errors again"
        )


class _Probe(_Step):
    """Video → (video, part) for all parts whose outcome is not known."""

    def process(self, video: Video) -> Iterator[tuple[Video, Part]]:
        for part in self.attempt(video.split, video.id, self._planned, video):
            yield video, part

    def _planned(self, split: str, video: Video) -> list[Part]:
        with _opened(video) as clip:
            info = clip.info
        try:
            for what in ("id", "caption", "augmented_caption", "label"):
                check_whole(getattr(info, what), f"its {what}")
        except UserError as error:
            raise Rejected("text", str(error)) from error
        if self._config.training:
            check_short_side(info.height, info.width, self._config.rules.short_side)
        found = parts(info, self._config.cut)
        # The outcome of a video that is one clip is that of the video.
        alone = len(found) == 1 and found[0].id == info.id
        return [
            part._replace(id=video.id) if alone else part
            for part in found
            if alone or not self._store.has(split, part.id)
        ]


class _Cut(_Step):
    """(video, part) → (split, id, clip)."""

    def process(self, element: tuple[Video, Part]) -> Iterator[tuple[str, str, DecodedClip]]:
        video, part = element
        for clip in self.attempt(video.split, part.id, self._decoded, video, part):
            yield video.split, part.id, clip

    def _decoded(self, _: str, video: Video, part: Part) -> list[DecodedClip]:
        with _opened(video) as clip:
            # A record's own id, by which it was not listed, stays the clip's.
            return [cut(clip, part if part.id != video.id else part._replace(id=clip.info.id), self._config.cut)]


@contextmanager
def _opened(video: Video) -> Iterator[Clip]:
    """A video's clip, with its files on this machine. What is wrong with them puts the video aside.

    Raises:
        Rejected: "unreadable"; or "vanished", where there is no such file any more.
    """
    try:
        with refusals_told(), _on_this_machine(video.open()) as clip:
            _ = clip.info
            yield clip
    except (UserError, Rejected) as error:
        if _has_vanished(video):
            raise Rejected("vanished", str(error)) from error
        if isinstance(error, Rejected):
            raise
        raise Rejected("unreadable", str(error)) from error


def _has_vanished(video: Video) -> bool:
    """Whether a file that was listed is not there any more. One that is gone with its folder is the machine's fault."""
    path = getattr(video.clip, "path", None)
    if path is None or path.exists():
        return False
    if not is_remote(path) and not path.parent.is_dir():
        raise OSError(errno.ESTALE, "the folder of the videos is not there any more", str(path.parent))
    return True


@contextmanager
def _on_this_machine(clip: Clip) -> Iterator[Clip]:
    paths = {name: path for name in _PATHS if (path := getattr(clip, name, None)) is not None and is_remote(path)}
    with ExitStack() as stack:
        here: dict[str, Any] = {name: stack.enter_context(fetched(path)) for name, path in paths.items()}
        yield dataclasses.replace(clip, **here) if isinstance(clip, FileClip | PictureClip) else clip


class _Stage(_Step):
    """(split, id, clip) → (split, id, clip) with more known of it."""

    def __init__(self, stage: Callable, step: _Settings):
        super().__init__(step)
        self._make = stage

    def setup(self) -> None:
        super().setup()
        self._stage = self._make(self._config)

    def teardown(self) -> None:
        del self._stage  # with the last of a process its models go

    def process(self, element: tuple[str, str, DecodedClip]) -> Iterator[tuple[str, str, DecodedClip]]:
        split, identifier, clip = element
        for more in self.attempt(split, identifier, self._staged, clip):
            yield split, identifier, more

    def _staged(self, _: str, clip: DecodedClip) -> list[DecodedClip]:
        return [self._stage(clip)]


class _Keep(_Step):
    """(split, id, clip) → a record in the store."""

    def setup(self) -> None:
        super().setup()
        self._features = features()

    def process(self, element: tuple[str, str, DecodedClip]) -> None:
        split, identifier, clip = element
        self.attempt(split, identifier, self._kept, identifier, clip)

    def _kept(self, split: str, identifier: str, clip: DecodedClip) -> list[Any]:
        record = self._features.serialize_example(self._features.encode_example(encode(clip)))
        self._store.keep(split, identifier, record)
        return []


class _Each(beam.DoFn):
    """Some work on each element."""

    def __init__(self, work: Callable[[Any], None], store: Store):
        self._work, self._store = work, store

    def setup(self) -> None:
        self._store.check()

    def process(self, element: Any) -> None:
        try:
            self._work(element)
        except Exception as error:
            if of_the_machine(error):
                raise Stopped(
                    f"this machine failed: {' '.join(str(error).split())}; all outcomes so far are kept: mend it and "
                    "start the same command again"
                ) from error
            raise
