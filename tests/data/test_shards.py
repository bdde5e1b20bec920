"""Records in several files, as a large data set has them, read by all who read such files."""

from itertools import pairwise
from pathlib import Path

import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds

from magdiff_jax.data import shards
from magdiff_jax.data.builder import features
from magdiff_jax.data.clip import ClipInfo, DecodedClip
from magdiff_jax.data.records import RecordSource, encode, record_files


def record(number: int) -> bytes:
    info = ClipInfo(id=f"clip {number}", source="test", length=2, height=16, width=16, fps=8.0, caption="a square")
    frames = np.random.default_rng(number).integers(0, 256, (2, 16, 16, 3), np.uint8)
    schema = features()
    return schema.serialize_example(schema.encode_example(encode(DecodedClip(info, frames, None))))


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], []),
        ([5], [range(1)]),
        ([200], [range(1)]),
        ([40, 40, 40, 40], [range(2), range(2, 4)]),
        ([90, 20, 90], [range(1), range(1, 2), range(2, 3)]),
        ([10] * 100, [range(at, at + 10) for at in range(0, 100, 10)]),
    ],
)
def test_records_are_shared_out_evenly(sizes: list[int], parts: list[range], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LEAST_SHARD", 100)
    assert shards.share_out(sizes) == parts


def test_many_records_have_no_more_than_a_thousand_files_or_a_gibibyte_each() -> None:
    clips = [26 << 20] * 76_000
    parts = shards.share_out(clips)
    assert parts[0].start == 0
    assert parts[-1].stop == len(clips)
    assert all(before.stop == after.start for before, after in pairwise(parts))
    assert max(len(part) for part in parts) * clips[0] <= shards.MOST_SHARD


# TFDS asks protobuf for something deprecated.
@pytest.mark.filterwarnings(r"ignore:label\(\) is deprecated:DeprecationWarning")
def test_a_data_set_of_several_files_is_read_by_tfds_grain_and_here(tmp_path: Path) -> None:
    folder = tmp_path / "clips/1.0.0"
    records = [record(number) for number in range(7)]
    parts = [range(3), range(3, 6), range(6, 7)]
    written = [
        shards.write_shard(folder / shards.shard_name("clips", "train", index, 3), (records[at] for at in part))
        for index, part in enumerate(parts)
    ]
    assert [shard.clips for shard in written] == [3, 3, 1]
    assert sum(shard.bytes for shard in written) == sum(map(len, records))
    assert not (folder / "dataset_info.json").exists()
    shards.write_metadata(folder, "clips", "Squares.", {"train": written})

    ids = [f"clip {number}" for number in range(7)]
    source = RecordSource(tmp_path, "train")
    assert [source[index].info.id for index in range(len(source))] == ids
    read = tfds.builder_from_directory(folder)
    assert read.info.splits["train"].num_examples == 7
    assert read.info.splits["train"].shard_lengths == [3, 3, 1]
    assert [example["id"].decode() for example in read.as_data_source("train")] == ids
    with_grain = grain.sources.ArrayRecordDataSource([str(file) for file in record_files(folder, "train")])
    assert [with_grain[index] for index in range(7)] == records


def test_a_shard_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken():
        yield record(0)
        raise MemoryError("no more")

    with pytest.raises(MemoryError):
        shards.write_shard(tmp_path / "a", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_builder_s_split_goes_on_in_further_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(number) for number in range(5)]
    monkeypatch.setattr(shards, "MOST_SHARD", 2 * len(records[0]))
    written = shards.write_split(tmp_path, lambda index, count: f"{index} of {count}", iter(records))
    assert [shard.clips for shard in written] == [2, 2, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0 of 3", "1 of 3", "2 of 3"]
