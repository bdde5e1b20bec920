"""Models that sleep where others would compute, called by many threads."""

import gc
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from magdiff_jax.data.clip import ClipInfo, DecodedClip, Frames
from magdiff_jax.data.prepare import stages
from magdiff_jax.data.prepare.annotate import Ask, Segment
from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.frames import FramesAhead, LazyFrames
from magdiff_jax.data.prepare.shared import Shared, once
from magdiff_jax.errors import UserError

THREADS = 8
# Of a stand-in's frames: seconds that one takes to prepare, and to track.
PREPARING, TRACKING = 0.012, 0.008


class Doubler:
    """Doubles numbers, and keeps account of its batches."""

    def __init__(self, device: str) -> None:
        self.device = device

    def double(self, numbers: list[int]) -> list[tuple[int, int, str]]:
        """Twice each number, how many there were, and the device."""
        time.sleep(0.02)
        if 13 in numbers:
            raise ValueError("13 is unlucky")
        return [(2 * number, len(numbers), self.device) for number in numbers]


def called_by_threads(call: Callable[[Any], Any], items: Any) -> list[Any]:
    """The result of each item, or its exception; all are submitted at about the same time."""

    def attempt(item: Any) -> Any:
        try:
            return call(item)
        except Exception as error:
            return error

    with ThreadPoolExecutor(32) as threads:
        return list(threads.map(attempt, items))


def test_what_waits_makes_batches_and_each_caller_gets_its_own_result() -> None:
    shared: Shared[int, Any] = Shared(Doubler, ["one"], Doubler.double, most=4)
    results = called_by_threads(shared, range(20, 50))
    assert [double for double, _, _ in results] == [2 * number for number in range(20, 50)]
    sizes = [size for _, size, _ in results]
    assert max(sizes) == 4
    assert sizes.count(1) <= 4, "while a batch runs, others come together"


def test_a_batch_has_items_of_one_kind() -> None:
    batches = []

    def call(_: None, items: list[int]) -> list[int]:
        time.sleep(0.02)
        batches.append(items)
        return items

    shared: Shared[int, int] = Shared(lambda device: None, ["one"], call, 8, alike=lambda item: item % 2)
    assert called_by_threads(shared, range(24)) == list(range(24))
    assert all(len({item % 2 for item in batch}) == 1 for batch in batches)
    assert max(map(len, batches)) > 1


def test_all_devices_take_from_one_queue() -> None:
    shared: Shared[int, Any] = Shared(Doubler, ["one", "two"], Doubler.double)
    results = called_by_threads(shared, range(20, 44))
    shares = [sum(device == name for _, _, device in results) for name in ("one", "two")]
    assert min(shares) > 6, "of 24"


def test_the_models_of_a_device_never_run_at_a_time() -> None:
    running = threading.Semaphore(1)

    def call(_: str, items: list[int]) -> list[bool]:
        alone = running.acquire(blocking=False)
        time.sleep(0.005)
        if alone:
            running.release()
        return [alone] * len(items)

    one, other = (Shared[int, bool](lambda device: device, ["same"], call) for _ in range(2))
    assert all(called_by_threads(lambda item: (one, other)[item % 2](item), range(24)))


def test_an_item_that_fails_does_not_take_its_batch_with_it() -> None:
    shared: Shared[int, Any] = Shared(Doubler, ["one"], Doubler.double, most=32)
    results = called_by_threads(shared, range(24))
    assert isinstance(results.pop(13), ValueError)
    assert [double for double, _, _ in results] == [2 * number for number in range(24) if number != 13]
    assert shared(5)[0] == 10, "and the device goes on"


def test_results_that_are_missing_are_an_error_not_a_wait() -> None:
    shared: Shared[int, int] = Shared(lambda device: None, ["one"], lambda _, items: items[1:], most=4)
    with pytest.raises(ValueError, match="0 results for 1 items"):
        shared(1)


def test_a_model_that_cannot_be_made_is_told_to_every_caller() -> None:
    def fail(device: str) -> None:
        raise UserError("model here: it cannot be loaded")

    shared: Shared[int, int] = Shared(fail, ["one"], lambda _, items: items, most=4)
    results = called_by_threads(shared, range(16))
    assert all(isinstance(result, UserError) for result in results)


def test_a_model_is_made_when_it_is_needed_and_dropped_with_what_holds_it() -> None:
    made: list[weakref.ref] = []

    def make(device: str) -> Doubler:
        model = Doubler(device)
        made.append(weakref.ref(model))
        return model

    shared: Shared[int, Any] = Shared(make, ["alone"], Doubler.double)
    assert not made
    shared(1)
    shared(2)
    assert len(made) == 1
    assert "models on alone" in [thread.name for thread in threading.enumerate()]
    del shared
    assert soon(lambda: made[0]() is None)
    assert soon(lambda: "models on alone" not in [thread.name for thread in threading.enumerate()])


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold within a few seconds."""
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def test_once_for_each_spec_as_long_as_it_is_held() -> None:
    made = []

    class Thing:
        pass

    def make(spec: Any) -> Thing:
        made.append(spec)
        time.sleep(0.02)
        return Thing()

    things = called_by_threads(lambda _: once(make, {"a": 1, "b": (2,)}), range(THREADS))
    assert len({id(thing) for thing in things}) == 1
    assert once(make, {"b": [2], "a": 1}) is things[0]
    assert once(make, {"a": 2, "b": (2,)}) is not things[0]
    assert len(made) == 2
    things.clear()
    gc.collect()
    once(make, {"a": 1, "b": (2,)})
    assert len(made) == 3


class Account:
    """When the stand-ins' only device was at work, and how many of each were made."""

    def __init__(self) -> None:
        self.busy = 0.0
        self.made: list[str] = []

    def work(self, seconds: float) -> None:
        started = time.monotonic()
        time.sleep(seconds)
        self.busy += time.monotonic() - started


account = Account()


def make_sleeper(kind: str, device: str) -> str:
    account.made.append(f"{kind} on {device}")
    return kind


def answer(_: str, questions: list[str]) -> list[str]:
    account.work(0.01)
    return [f"answer to {question}" for question in questions]


def track(_: str, clips: list[Any]) -> list[np.ndarray]:
    masks = []
    for frames in clips:
        for index in range(len(frames)):
            masks.append(frames[index])
            account.work(TRACKING)
    return [np.stack(masks)]


def prepare(frame: np.ndarray) -> np.ndarray:
    time.sleep(PREPARING)
    return frame[..., 0] > 0


class SleepingCaptioner:
    name = "sleeping"

    def __init__(self, number: int = 0) -> None:
        self._number = number
        self._answer: Shared[str, str] = Shared(lambda device: make_sleeper("captioner", device), ["gpu"], answer, 8)

    def answer(self, question: str, frame: np.ndarray) -> str:
        time.sleep(PREPARING)
        return self._answer(f"{question} {frame[0, 0, 1]}")


class SleepingSegmenter:
    name = "sleeping"

    def __init__(self, ahead: bool = True) -> None:
        self._ahead = ahead
        self._track: Shared[Any, np.ndarray] = Shared(lambda device: make_sleeper("tracker", device), ["gpu"], track)

    def segment(self, frames: Frames, label: str, box: Any) -> stages.Segmentation:
        prepared = FramesAhead(frames, prepare) if self._ahead else LazyFrames(frames, prepare)
        return stages.Segmentation(self._track(prepared), {"model": self.name, "label": label})


@pytest.fixture
def sleepers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setitem(stages.CAPTIONERS, "sleeping", f"{__name__}.SleepingCaptioner")
    monkeypatch.setitem(stages.SEGMENTERS, "sleeping", f"{__name__}.SleepingSegmenter")
    account.busy, account.made = 0.0, []
    yield account
    gc.collect()


def annotated(config: PrepareConfig, clips: list[DecodedClip], threads: int) -> list[DecodedClip]:
    """The clips after the captioner and the segmenter, each thread with stages of its own."""
    own = threading.local()

    def annotate(clip: DecodedClip) -> DecodedClip:
        if not hasattr(own, "stages"):
            own.stages = Ask(config), Segment(config)
        ask, segment = own.stages
        asked = ask(clip)
        labelled = ClipInfo(**{**vars(asked.info), "label": "a label"})
        return segment(DecodedClip(labelled, asked.all_frames, None))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(annotate, clips))


def config(**segmenter: Any) -> PrepareConfig:
    return PrepareConfig(
        name="sleeping",
        splits={"train": {}},
        captioner={"kind": "sleeping"},
        segmenter={"kind": "sleeping", **segmenter},
    )


def make_clips(count: int) -> list[DecodedClip]:
    frames = np.zeros((6, 8, 8, 3), np.uint8)
    clips = []
    for index in range(count):
        own = frames.copy()
        own[..., 0], own[..., 1] = index % 2, index
        info = ClipInfo(f"{index}", "made", 6, 8, 8, 8.0, provenance={"cut": {"start": 0, "size": [8, 8]}})
        clips.append(DecodedClip(info, own, None))
    return clips


def test_eight_threads_have_one_set_of_models_and_get_their_own_results(sleepers: Account) -> None:
    clips = make_clips(16)
    found = annotated(config(), clips, THREADS)
    assert sorted(sleepers.made) == ["captioner on gpu", "tracker on gpu"]
    for index, clip in enumerate(found):
        assert clip.info.provenance["answer"]["text"] == f"answer to {config().question} {index}"
        assert clip.all_masks is not None
        assert (clip.all_masks == bool(index % 2)).all()
    # With the stages the models are gone; the next run makes its own.
    gc.collect()
    annotated(config(), clips[:1], 1)
    assert len(sleepers.made) == 4


def test_the_device_is_busy_while_threads_prepare(sleepers: Account) -> None:
    def busy_share(config: PrepareConfig, clips: int, threads: int) -> float:
        sleepers.busy, started = 0.0, time.monotonic()
        annotated(config, make_clips(clips), threads)
        return sleepers.busy / (time.monotonic() - started)

    in_line = busy_share(config(ahead=False), 8, 1)
    # Other programs may take the cores for a while: one of three tries has them.
    tries = (busy_share(config(), 48, THREADS) for _ in range(3))
    shared = next((share for share in tries if share >= 0.9), 0.0)
    print(f"\nthe device is busy {shared:.0%} of the time; with all work in line {in_line:.0%}")
    assert in_line < 0.5
    assert shared >= 0.9


class WithoutWeights:
    """A segmenter whose model turns out to be damaged when the first clip needs it."""

    name = "without weights"

    def __init__(self) -> None:
        def fail(device: str) -> None:
            raise UserError("model here: it cannot be loaded")

        self._track: Shared[Any, Any] = Shared(fail, ["gpu"], track)

    def segment(self, frames: Frames, label: str, box: Any) -> stages.Segmentation:
        return stages.Segmentation(self._track(frames), {})


def test_a_box_outside_puts_a_clip_aside_and_a_model_that_is_missing_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stages.SEGMENTERS, "without_weights", f"{__name__}.WithoutWeights")
    segment = Segment(config(kind="without_weights"))
    (clip,) = make_clips(1)
    labelled = DecodedClip(ClipInfo(**{**vars(clip.info), "label": "cat"}), clip.all_frames, None)
    with pytest.raises(UserError, match="it cannot be loaded"):
        segment(labelled)
    provenance = {**clip.info.provenance, "box": [4, 4, 5, 2]}
    boxed = DecodedClip(ClipInfo(**{**vars(labelled.info), "provenance": provenance}), clip.all_frames, None)
    with pytest.raises(stages.Rejected, match="does not lie within the frame of 8x8") as caught:
        segment(boxed)
    assert caught.value.rule == "box"


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)"])
def test_a_process_ends_though_models_are_held_and_one_is_at_work(ending: str) -> None:
    program = f"""
        import threading, time
        from magdiff_jax.data.prepare.shared import Shared

        def call(device, items):
            time.sleep(items[0])
            print("done", items[0], flush=True)
            return items

        shared = Shared(str, ["one", "two"], call)
        shared(0.0)
        threading.Thread(target=shared, args=(0.7,), daemon=True).start()
        time.sleep(0.2)
        {ending}
    """
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == (3 if ending else 0)
    assert ended.stdout.split("\n") == ["done 0.0", "done 0.7", ""], "a batch that runs comes to its end"
    assert not ended.stderr
    assert time.monotonic() - started < 30
