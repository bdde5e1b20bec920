"""Data sets as ArrayRecord shards, and the metadata with which TFDS, Grain and `RecordSource` read them.

TFDS's own writer shuffles a split of more than 1 GB through files that it writes with TensorFlow.
"""

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from magdiff_jax.places import write_whole, writing_whole

VERSION = "1.0.0"
# Bytes of a shard. Fewer, and a large data set has very many files; more, and there is less to share out among workers.
LEAST_SHARD, MOST_SHARD = 64 << 20, 1 << 30
# Shards of a split, where their size allows it.
_SHARDS = 1000


class Shard(NamedTuple):
    """What is in a shard."""

    clips: int
    bytes: int


def shard_name(name: str, split: str, index: int, count: int) -> str:
    """The file of a shard, as TFDS names it."""
    return f"{name}-{split}.array_record-{index:05}-of-{count:05}"


def share_out(sizes: Sequence[int]) -> list[range]:
    """Successive records for each shard: about as many bytes in each, no shard empty."""
    least = min(max(sum(sizes) // _SHARDS, LEAST_SHARD), MOST_SHARD)
    shards, start, size = [], 0, 0
    for index, record in enumerate(sizes):
        if index > start and size + record > least:
            shards.append(range(start, index))
            start, size = index, 0
        size += record
    return [*shards, range(start, len(sizes))] if sizes else shards


def write_shard(path: Any, records: Iterable[bytes]) -> Shard:
    """Write a file of records, one after the other: whole, or not at all. Raises UserError as `replacing`."""
    from array_record.python.array_record_module import ArrayRecordWriter

    clips = size = 0
    with writing_whole(path) as new:
        # Each record by itself, so that one is read without its neighbours.
        writer = ArrayRecordWriter(str(new), "group_size:1")
        try:
            for record in records:
                writer.write(record)
                clips, size = clips + 1, size + len(record)
        finally:
            writer.close()
    return Shard(clips, size)


def write_split(folder: Path, name: Callable[[int, int], str], records: Iterable[bytes]) -> list[Shard]:
    """Write the records of a split, in their order, as shards of at most about `MOST_SHARD` bytes.

    Args:
        folder: for the shards.
        name: of a shard, from its number and that of all.
        records: of the split; read once, one after the other.
    """
    shards: list[Shard] = []
    rest = iter(records)
    for first in rest:
        shards.append(write_shard(folder / f"{len(shards)}.part", _up_to(MOST_SHARD, first, rest)))
    for index in range(len(shards)):
        (folder / f"{index}.part").rename(folder / name(index, len(shards)))
    return shards


def _up_to(most: int, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The first record, and of the others as many as it takes to reach so many bytes."""
    yield first
    size = len(first)
    while size < most and (record := next(rest, None)) is not None:
        yield record
        size += len(record)


def write_metadata(folder: Any, name: str, description: str, splits: Mapping[str, Sequence[Shard]]) -> None:
    """Write what TFDS needs beside the shards: dataset_info.json last, without which a folder is no data set.

    Args:
        folder: of the shards, which are named by `shard_name`.
        name: of the data set.
        description: likewise, for people.
        splits: the shards of each split, in order.
    """
    import tensorflow_datasets as tfds

    from magdiff_jax.data.builder import features

    with tempfile.TemporaryDirectory(prefix="magdiff_jax-") as beside, redirect_stdout(io.StringIO()):
        identity = tfds.core.dataset_info.DatasetIdentity(
            name=name, version=tfds.core.Version(VERSION), data_dir=beside, module_name=""
        )
        info = tfds.core.DatasetInfo(builder=identity, features=features(), description=description)
        info.set_file_format("array_record")
        template = tfds.core.ShardedFileTemplate(
            data_dir=Path(beside), dataset_name=name, filetype_suffix="array_record"
        )
        info.set_splits(tfds.core.splits.SplitDict([split_info(*split, template) for split in splits.items()]))
        info.write_to_directory(beside)
        for file in sorted(Path(beside).iterdir(), key=lambda file: file.name == "dataset_info.json"):
            write_whole(folder / file.name, file.read_bytes())


def split_info(split: str, shards: Sequence[Shard], template: Any) -> Any:
    """What TFDS knows of a split (`tfds.core.SplitInfo`)."""
    import tensorflow_datasets as tfds

    return tfds.core.SplitInfo(
        name=split,
        shard_lengths=[shard.clips for shard in shards],
        num_bytes=sum(shard.bytes for shard in shards),
        filename_template=template.replace(split=split),
    )
