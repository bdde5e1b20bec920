"""Makes a cache of the frozen encoders' outputs; see `cache`."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from magdiff_jax.data.loader import Tokenize, make_loader
from magdiff_jax.errors import UserError
from magdiff_jax.replacing import check_fillable, left_behind, replacing
from magdiff_jax.sharding.leaves import Leaves, to_leaves
from magdiff_jax.sharding.mesh import share_of_batch, to_global
from magdiff_jax.tokenizer import Tokenizer
from magdiff_jax.training.cache import (
    MARK,
    CacheConfig,
    check_same,
    encoders_of,
    origin,
    origin_of_weights,
    read_description,
    to_arrays,
    to_record,
)
from magdiff_jax.training.diffusion import to_inputs
from magdiff_jax.training.start import starting_params, write_tokenizer
from magdiff_jax.training.trainer import Trainer
from magdiff_jax.weights import directory
from magdiff_jax.weights.files import write_json

EXAMPLES_PER_FILE = 1024


def make_cache(trainer: Trainer, folder: Path, examples: int, examples_per_file: int = EXAMPLES_PER_FILE) -> int:
    """Write the first examples of a run's data as its frozen encoders see them, without prompt dropout.

    All processes call it; each writes files of its own. Files that are there already stay, so that a call that was
    killed goes on.

    Args:
        trainer: of the run.
        folder: of the cache.
        examples: how many.
        examples_per_file: see `CacheConfig`.

    Returns:
        Bytes that the cache's files take.

    Raises:
        UserError: the folder holds something else, or the operating system refuses to write.
    """
    # The first process looks and decides for all: others may look when it has written something already.
    first = jax.process_index() == 0
    found = _find(trainer, folder, examples, examples_per_file) if first else None
    if first:
        _clear(folder)
    with tempfile.TemporaryDirectory() as beside:
        write_tokenizer(trainer.config, trainer, tokens := Path(beside, "tokenizer"))
        tokenizer = Tokenizer(tokens, trainer.text_length)
        frozen, fingerprints = _load_encoders(trainer)
        whole = {**origin(trainer), **origin_of_weights(fingerprints, tokens)}
    config = CacheConfig(examples, examples_per_file, whole)
    if found is not None:
        check_same(folder, found, config.origin)
    elif first:
        with replacing(folder / MARK) as new:
            write_json(new, config.to_dict())
    files = config.files(folder)
    there = multihost_utils.broadcast_one_to_all(np.array([file.is_file() for file in files]))
    missing = [index for index in range(len(files)) if not there[index]]
    _write(trainer, frozen, tokenizer.ids, config, folder, missing)
    multihost_utils.sync_global_devices("cache")
    return sum(file.stat().st_size for file in files)


def _find(trainer: Trainer, folder: Path, examples: int, examples_per_file: int) -> CacheConfig | None:
    """What an earlier call began in the folder, checked as far as can be without weights; None: nothing is there."""
    if not folder.exists() or (folder.is_dir() and set(folder.iterdir()) == set(left_behind(folder))):
        return None
    if not (folder / MARK).is_file():
        raise UserError(f"{folder} holds something else than a cache: choose another --out")
    found = read_description(folder)
    if (found.examples, found.examples_per_file) != (examples, examples_per_file):
        raise UserError(f"cache {folder}: made for {found.examples} examples; give that number, or another --out")
    check_same(folder, found, origin(trainer))
    return found


def _clear(folder: Path) -> None:
    """Make the folder, or rid it of what a killed call was writing. Raises UserError where it cannot be written to."""
    check_fillable(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in left_behind(folder):
            shutil.rmtree(left)
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error.strerror or error}") from error


def _load_encoders(trainer: Trainer) -> tuple[Leaves, dict[str, str]]:
    """Parameters of the frozen encoders on the devices, and each one's fingerprint."""
    frozen: Leaves = {}
    fingerprints = {}
    for name in encoders_of(trainer):
        params = starting_params(trainer.config, trainer, name)
        fingerprints[name] = directory.fingerprint(params)
        for path, leaf in to_leaves(name, params).items():
            cast = leaf.astype(trainer.shapes[path].dtype)
            frozen[path] = jax.make_array_from_callback(cast.shape, trainer.shardings[path], cast.__getitem__)
    return frozen, fingerprints


def _write(
    trainer: Trainer, frozen: Leaves, tokenize: Tokenize, config: CacheConfig, folder: Path, missing: Sequence[int]
) -> None:
    """Write the missing files, each process one at a time: encoding takes the devices of all of them."""
    part, parts = share_of_batch(trainer.mesh)
    share = trainer.config.batch_size // parts
    data = trainer.loader_config(prompt_dropout=0.0, batch_size=share)
    done = config.examples - sum(map(config.size, missing))
    hidden = None if jax.process_index() == 0 else True
    with (
        make_loader(data, tokenize) as loader,
        tqdm(total=config.examples, initial=done, unit="example", desc="encoding", disable=hidden) as bar,
    ):
        for start in range(0, len(missing), parts):
            at_once = missing[start : start + parts]
            # Where there are fewer files than parts, several write the same one, in turns as the bytes are the same.
            file = at_once[part % len(at_once)]
            position = file * config.examples_per_file
            loader.set_state({**loader.get_state(), "position": position})
            batches = -(-max(map(config.size, at_once)) // share)
            records = _records(trainer, frozen, itertools.islice(loader, batches))
            _write_file(config.files(folder)[file], records, config.size(file))
            bar.update(sum(map(config.size, at_once)))


def _records(trainer: Trainer, frozen: Leaves, batches: Iterator[Any]) -> Iterator[bytes]:
    for batch in batches:
        encoded = trainer.encode(frozen, to_global(trainer.mesh, to_inputs(batch)))
        arrays = {name: _to_local(array) for name, array in to_arrays(encoded).items()}
        for row, (identifier, prompt) in enumerate(zip(batch.ids, batch.prompts, strict=True)):
            yield to_record({name: array[row] for name, array in arrays.items()}, identifier, prompt)


def _to_local(array: jax.Array) -> np.ndarray:
    """This process's rows of a batch."""
    rows = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(rows[start]) for start in sorted(rows)])


def _write_file(path: Path, records: Iterator[bytes], count: int) -> None:
    """Write the first records; the others are made all the same, as other processes wait for it."""
    from array_record.python.array_record_module import ArrayRecordWriter

    with replacing(path) as new:
        # One record in a group, so that a reader takes it alone; numbers such as these hardly become smaller.
        writer = ArrayRecordWriter(str(new), "group_size:1,uncompressed")
        for index, record in enumerate(records):
            if index < count:
                writer.write(record)
        writer.close()
