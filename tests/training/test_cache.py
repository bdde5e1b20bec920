"""A cache of the frozen encoders' outputs: the same losses as without, position by position, and no silent mistake."""

import functools
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.loader import Loader, drops_prompt
from magdiff_jax.errors import UserError
from magdiff_jax.sharding.leaves import Leaves
from magdiff_jax.tokenizer import Tokenizer
from magdiff_jax.training import caching
from magdiff_jax.training.cache import (
    MARK,
    Cached,
    CachedSource,
    abstract_encoded,
    cached_loader,
    read_cache,
    read_description,
)
from magdiff_jax.training.caching import make_cache
from magdiff_jax.training.diffusion import Encoded
from magdiff_jax.training.feed import Feed
from magdiff_jax.training.start import load_start, make_start, networks_of
from magdiff_jax.training.trainer import Trainer
from tests.conftest import FLAGS
from tests.training.tiny import copied, emoji, make_config

ROOT = Path(__file__).parents[2]
# In files of 10, 10 and 8.
EXAMPLES, PER_FILE, BATCH = 28, 10, 8
DROPOUT = 0.4


TRAINERS: dict[str, Trainer] = {}


def make_trainer(**changes: Any) -> Trainer:
    """A trainer of the tiny model, the same for the same changes of its config, so that little is traced twice."""
    changes["data"] = {"prompt_dropout": DROPOUT, **changes.get("data", {})}
    if (key := repr(sorted(changes.items()))) not in TRAINERS:
        config = make_config(batch_size=changes.pop("batch_size", BATCH), **changes)
        TRAINERS[key] = Trainer(config, networks_of(config), jax.devices()[:1])
    return TRAINERS[key]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trainer = make_trainer()
    return make_start(trainer.config, trainer, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("caches") / "float32"
    make_cache(make_trainer(), folder, EXAMPLES, PER_FILE)
    return folder


class Batches(NamedTuple):
    """The first batches of a run and what its steps take beside them."""

    params: Leaves
    frozen: Leaves
    constants: Any
    encoded: list[Encoded]


def batches(trainer: Trainer, start: Path) -> Batches:
    params, frozen = load_start(start, trainer)
    tokenizer = Tokenizer(start / "tokenizer", trainer.text_length)
    constants = trainer.make_constants(frozen, tokenizer.ids([""]))
    with Feed(trainer, tokenizer.ids, frozen, start) as feed:
        return Batches(params, frozen, constants, [feed.next(step).encoded for step in range(3)])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_numbers_to_the_bit(dtype: str, cache: Path, start: Path, tmp_path: Path) -> None:
    """And so the same losses, see the test below."""
    precision = {"compute": dtype, "frozen": dtype}
    if dtype != "float32":
        cache = tmp_path / dtype
        make_cache(make_trainer(precision=precision), cache, EXAMPLES, PER_FILE)
    config = make_trainer().loader_config()
    assert 0 < sum(drops_prompt(config, position) for position in range(3 * BATCH)) < 3 * BATCH
    live = batches(make_trainer(precision=precision), start).encoded
    cached = batches(make_trainer(precision=precision, cache=str(cache)), start).encoded
    for one, other in zip(live, cached, strict=True):
        prompted = ~np.asarray(one.unprompted)
        np.testing.assert_array_equal(one.text[prompted], other.text[prompted])
        jax.tree.map(np.testing.assert_array_equal, one._replace(text=None), other._replace(text=None))
    kinds = {str(leaf.dtype) for each in live for leaf in jax.tree.leaves(each._replace(coverage=None))}
    assert kinds == {dtype, "bool", "uint32"}
    assert jax.tree.map(lambda leaf: leaf.sharding, live) == jax.tree.map(lambda leaf: leaf.sharding, cached)


def test_the_same_losses(cache: Path, start: Path) -> None:
    trainer = make_trainer()

    def losses(made: Batches) -> list[float]:
        state, found = trainer.make_state(copied(made.params)), []
        for encoded in made.encoded:
            state, metrics = trainer.step(state, made.frozen, made.constants, encoded)
            found.append(float(metrics["loss"]))
        return found

    cached = batches(make_trainer(cache=str(cache)), start)
    assert losses(cached) == losses(batches(trainer, start))
    undropped = [encoded._replace(unprompted=encoded.unprompted & False) for encoded in cached.encoded]
    assert losses(cached)[0] != losses(cached._replace(encoded=undropped))[0]


@pytest.fixture(scope="module")
def make(cache: Path, start: Path) -> Callable[..., Loader[Cached]]:
    """A loader of the cache; keywords change its config."""

    def make(process: int = 0, processes: int = 1, **data: Any) -> Loader[Cached]:
        trainer = make_trainer(cache=str(cache), data=data)
        return cached_loader(trainer, start, process, processes)

    return make


def take(loader: Loader[Cached], count: int) -> list[Cached]:
    """Single examples of so many batches."""
    with loader:
        return [
            Cached(
                jax.tree.map(lambda leaf, row=row: leaf[row], batch.encoded), (batch.ids[row],), (batch.prompts[row],)
            )
            for batch in itertools.islice(loader, count)
            for row in range(len(batch.ids))
        ]


def assert_equal(one: list[Cached], other: list[Cached]) -> None:
    assert [example[1:] for example in one] == [example[1:] for example in other]
    jax.tree.map(np.testing.assert_array_equal, [e.encoded for e in one], [e.encoded for e in other])


def test_passes_differ_in_order_and_dropped_prompts(make: Callable[..., Loader[Cached]]) -> None:
    examples = take(make(), 14)
    assert [example.encoded.positions.tolist() for example in examples] == [[0, index] for index in range(4 * EXAMPLES)]
    passes = [examples[index : index + EXAMPLES] for index in range(0, 4 * EXAMPLES, EXAMPLES)]
    means = [[example.encoded.clips.mean.tobytes() for example in each] for each in passes]
    assert len(set(means[0])) == EXAMPLES
    assert all(set(each) == set(means[0]) for each in means)
    assert len({tuple(each) for each in means}) == 4
    dropped = [[not example.prompts[0] for example in each] for each in passes]
    assert len({tuple(each) for each in dropped}) == 4
    assert 0.25 < np.mean(dropped) < 0.55
    assert all(example.encoded.unprompted == (not example.prompts[0]) for example in examples)


def test_in_order_where_nothing_is_shuffled(start: Path, tmp_path: Path) -> None:
    make_cache(make_trainer(data={"shuffle": False}), tmp_path / "cache", 11, 5)
    trainer = make_trainer(cache=str(tmp_path / "cache"), data={"shuffle": False, "prompt_dropout": 0.0})
    ids = [example.ids for example in take(cached_loader(trainer, start, 0, 1), 4)]
    assert ids == [ids[index % 11] for index in range(32)]
    assert len(set(ids)) == 11


@pytest.mark.parametrize("threads", [0, 3])
def test_processes_share_each_batch_out(threads: int, make: Callable[..., Loader[Cached]]) -> None:
    whole = take(make(threads=threads), 5)
    halves = [take(make(process, 2), 5) for process in range(2)]
    half = BATCH // 2
    together = [half_[i : i + half] for i in range(0, len(halves[0]), half) for half_ in halves]
    assert_equal(whole, [example for part in together for example in part])


def test_resumes_with_the_next_example(make: Callable[..., Loader[Cached]]) -> None:
    stopped = make(1, 2, threads=2)
    take(stopped, 4)
    resumed = make()
    resumed.set_state(json.loads(json.dumps(stopped.get_state())))
    assert_equal(take(make(), 7)[4 * BATCH :], take(resumed, 3))


def test_a_run_may_change_between_cache_and_clips(
    make: Callable[..., Loader[Cached]], start: Path, cache: Path
) -> None:
    cached, live = make_trainer(cache=str(cache)), make_trainer()
    assert cached.config.fingerprint() == live.config.fingerprint()
    _, frozen = load_start(start, live)
    tokenizer = Tokenizer(start / "tokenizer", live.text_length)
    with Feed(live, tokenizer.ids, frozen, start) as feed:
        feed.next(0)
        state = feed.get_state()
        second = feed.next(1)
    with Feed(cached, tokenizer.ids, frozen, start) as feed:
        feed.set_state(state)
        other = feed.next(1)
    assert second.ids == other.ids
    np.testing.assert_array_equal(second.encoded.positions, other.encoded.positions)
    np.testing.assert_array_equal(second.encoded.clips.mean, other.encoded.clips.mean)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


class Killed(BaseException):
    """As if the process had ended."""


def test_a_killed_call_goes_on(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    written = caching._write_file

    def killed(path: Path, *rest: Any) -> None:
        if "00001-of" in path.name:
            raise Killed
        written(path, *rest)

    (folder / ".writing-mark").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(caching, "_write_file", killed)
        with pytest.raises(Killed):
            make_cache(make_trainer(), folder, EXAMPLES, PER_FILE)
    left = folder / ".writing-left"
    left.mkdir()
    (first,) = folder.glob("encoded*")
    before = first.stat().st_mtime_ns
    with pytest.raises(UserError, match=r"lacks 2 of its files .*00001-of-00003.*goes on"):
        read_cache(make_trainer(cache=str(folder)))
    make_cache(make_trainer(), folder, EXAMPLES, PER_FILE)
    assert contents(folder) == contents(cache)
    assert first.stat().st_mtime_ns == before


def test_two_processes_make_the_same_examples(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "magdiff_jax.cache", "--config", "tests/training/tiny.py"]
    command += ["--out", str(tmp_path / "two"), "--examples", "1100", "--coordinator", address, "--processes", "2"]
    environment = {**os.environ, "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count=1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, "--process", str(index)], cwd=ROOT, env=environment, **pipes) for index in (0, 1)
    ]
    make_cache(make_trainer(), tmp_path / "one", 1100)
    said = [process.communicate(timeout=400) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "1,100 examples, 0.02 GB (17." in said[0][0]
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one.keys() == two.keys()
    assert one[MARK] == two[MARK]
    like = abstract_encoded(make_trainer())
    sources = [CachedSource(tmp_path / name, read_description(tmp_path / name), like) for name in ("one", "two")]
    # Four rows a device round otherwise than eight.
    for place in (0, 3, 4, 7, 8, 1023, 1024, 1099):
        single, double = (source[place] for source in sources)
        assert single[1:] == double[1:]
        close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
        jax.tree.map(close, single.encoded, double.encoded)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": {"flip": True}}, r"another data\.flip"),
        ({"data": {"sources": [emoji("train", 41)]}}, r"another data\.sources"),
        ({"precision": {"compute": "bfloat16"}}, r"another precision\.compute"),
        ({"precision": {"frozen": "bfloat16"}}, r"another precision\.frozen"),
        ({"batch_size": 32}, "28 examples, and batch_size is 32"),
    ],
)
def test_another_config_than_the_cache_was_made_with(changes: dict[str, Any], what: str, cache: Path) -> None:
    with pytest.raises(UserError, match=what):
        read_cache(make_trainer(cache=str(cache), **changes))


def test_what_does_not_matter_may_change(cache: Path) -> None:
    data = {"prompt_dropout": 0.9, "threads": 3, "workers": 1}
    assert read_cache(make_trainer(cache=str(cache), batch_size=4, data=data)).examples == EXAMPLES


@pytest.mark.parametrize("what", ["encoders.vision", "tokenizer"])
def test_other_weights_than_the_cache_was_made_with(what: str, cache: Path, start: Path, tmp_path: Path) -> None:
    other = tmp_path / "start"
    shutil.copytree(start, other)
    if what == "tokenizer":
        with (other / "tokenizer" / "merges.txt").open("a") as file:
            file.write("\n")
    else:
        description = (other / "model.json").read_text()
        fingerprint = json.loads(description)["fingerprints"]["vision"]
        (other / "model.json").write_text(description.replace(fingerprint, "0" * 64))
    with pytest.raises(UserError, match=f"another {what}; take the config of then"):
        cached_loader(make_trainer(cache=str(cache)), other, 0, 1)


def test_no_cache(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cache.json in it; make one"):
        read_cache(make_trainer(cache=str(tmp_path / "missing")))
    (tmp_path / MARK).write_text('{"examples": 3}')
    with pytest.raises(UserError, match="missing keys"):
        read_cache(make_trainer(cache=str(tmp_path)))


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a bit": flip_bit,
    "the end": lambda path: path.write_bytes(path.read_bytes()[:-40_000]),
    "all": lambda path: path.write_bytes(b""),
    "another file's": lambda path: shutil.copyfile(path.with_name(path.name.replace("00001-of", "00002-of")), path),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_file_is_named(what: str, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    DAMAGES[what](tmp_path / "cache" / "encoded.array_record-00001-of-00003")
    source = CachedSource(tmp_path / "cache", read_description(cache), abstract_encoded(make_trainer()))
    assert [len(source[place].ids) for place in (0, 9, 20, 27)] == [1] * 4
    with pytest.raises(UserError, match=r"00001-of-00003: damaged \(.*\); delete it"):
        [source[place] for place in range(10, 20)]


def test_damage_shows_through_threads(cache: Path, start: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    flip_bit(tmp_path / "cache" / "encoded.array_record-00001-of-00003")
    trainer = make_trainer(cache=str(tmp_path / "cache"), data={"threads": 2})
    with pytest.raises(UserError, match=r"00001-of-00003: damaged \(.*\); delete it"):
        take(cached_loader(trainer, start, 0, 1), 4)


def test_where_a_cache_may_not_be_made(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="holds something else than a cache"):
        make_cache(make_trainer(), tmp_path, EXAMPLES)
    before = contents(cache)
    with pytest.raises(UserError, match="made for 28 examples"):
        make_cache(make_trainer(), cache, 27, PER_FILE)
    with pytest.raises(UserError, match=r"another data\.flip"):
        make_cache(make_trainer(data={"flip": True}), cache, EXAMPLES, PER_FILE)
    assert contents(cache) == before
    with pytest.raises(UserError, match=r"thesis\.txt holds something else"):
        make_cache(make_trainer(), tmp_path / "thesis.txt", EXAMPLES)


def test_images_have_no_cache() -> None:
    with pytest.raises(ConfigError, match="holds no images"):
        make_config(cache="somewhere", images={"share": 0.5, "sources": (emoji("train", 8),)})
