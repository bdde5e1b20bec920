"""Records: what is written is what is read, by each of the three readers."""

import json
import math
import pickle
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pytest
import skimage.data
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from magdiff_jax.data import records
from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Clip, ClipInfo, DecodedClip, Source
from magdiff_jax.data.records import RecordClip, RecordSource, encode
from magdiff_jax.errors import UserError
from tests.data.trees import carphone, two_objects

PROVENANCE = {"label": {"model": "blip2", "scores": [0.25, 1e-7]}, "Sprache": "日本語 🦊", "none": None, "box": [1, 2]}


class ThreeClips(ClipBuilder, skip_registration=True):
    """A clip with masks, a still picture without, and a clip whose subject leaves the frame."""

    HOMEPAGE = "https://example.org/"
    CITATION = "@misc{none}"
    LICENSE = "CC0"
    given: Mapping[str, Source] = {}

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        return self.given


@pytest.fixture(scope="module")
def three(clips: Path) -> list[Clip]:
    frames = carphone(clips, 5)
    leaving = two_objects(3)[:, :90, :100] == 1
    leaving[2] = False
    cat = skimage.data.chelsea()
    return [
        DecodedClip(
            ClipInfo(
                "straße/ж 1",
                "clips",
                *frames.shape[:3],
                30000 / 1001,
                caption="ein Mann fährt 🚗 – 男",
                augmented_caption="ein Mann fährt 🚗 – 男, man",
                label="man",
                category="person",
                provenance=PROVENANCE,
            ),
            frames,
            two_objects(5) > 0,
        ),
        DecodedClip(ClipInfo("cat", "photos", 1, *cat.shape[:2], 8.0, category="animal"), cat[None], None),
        DecodedClip(ClipInfo("leaving", "clips", 3, 90, 100, 25.0), frames[:3, :90, :100].copy(), leaving),
    ]


@pytest.fixture(scope="module")
def written(three: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    ThreeClips.given = {"train": three, "test": three[1:2]}
    ThreeClips(data_dir=folder).download_and_prepare()
    return folder


def _by_id(source: Source) -> dict[str, Clip]:
    return {source[index].info.id: source[index] for index in range(len(source))}


def test_all_that_is_known_of_a_clip_comes_back(three: list[Clip], written: Path) -> None:
    read = _by_id(RecordSource(written))
    assert set(read) == {clip.info.id for clip in three}
    for clip in three:
        info = read[clip.info.id].info
        assert np.float32(clip.info.fps) == info.fps
        assert info == ClipInfo(**{**vars(clip.info), "fps": info.fps})
    assert read["straße/ж 1"].info.provenance == PROVENANCE
    assert len(RecordSource(written, "test")) == 1


def test_frames_are_close_and_masks_are_exact(three: list[Clip], written: Path) -> None:
    read = _by_id(RecordSource(written))
    for clip in three:
        again, indices = read[clip.info.id], [*range(clip.info.length)][::-1]
        errors = np.abs(again.frames(indices).astype(int) - clip.frames(indices))
        assert errors.mean() < 2
        assert errors.max() < 32
        np.testing.assert_equal(again.masks(indices), clip.masks(indices))
        areas, expected = again.areas(), clip.areas()
        np.testing.assert_equal(areas, expected)
        assert areas is None or areas.dtype == np.float32
    assert read["cat"].masks([0]) is None  # null: the whole frame, or not known
    masks, areas = read["leaving"].masks([2]), read["leaving"].areas()
    assert masks is not None  # empty, which is not the same
    assert not masks.any()
    assert areas is not None
    assert areas[2] == 0


# TFDS asks protobuf for something deprecated.
@pytest.mark.filterwarnings(r"ignore:label\(\) is deprecated:DeprecationWarning")
def test_tfds_and_grain_alone_read_the_same(three: list[Clip], written: Path) -> None:
    builder = tfds.builder_from_directory(records.dataset_folder(written))
    examples = {example["id"].decode(): example for example in builder.as_data_source("train")}
    example = examples["straße/ж 1"]
    assert example["caption"].decode() == three[0].info.caption
    assert builder.info.features["category"].int2str(example["category"]) == "person"
    assert json.loads(example["provenance"]) == PROVENANCE
    assert example["size"].tolist() == [144, 176]
    assert len(example["frames"]) == len(example["masks"]) == len(example["areas"]) == 5
    assert len(examples["cat"]["frames"]) == 1
    assert len(examples["cat"]["masks"]) == len(examples["cat"]["areas"]) == 0
    assert (builder.info.homepage, builder.info.redistribution_info.license) == ("https://example.org/", "CC0")

    files = [str(file) for file in records.record_files(written, "train")]
    alone = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(files)).map(RecordClip)
    read = {clip.info.id: clip for clip in alone}
    for clip in three:
        assert read[clip.info.id].frames([0])[0].shape == clip.frames([0])[0].shape
    assert bytes(example["frames"][4]) == read["straße/ж 1"]._values["frames"].bytes_list.value[4]


def test_a_clip_is_encoded_a_few_frames_at_a_time(three: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = encode(three[0])
    asked: list[int] = []

    class Watched(DecodedClip):
        def frames(self, indices):
            asked.append(len(indices))
            return super().frames(indices)

    monkeypatch.setattr(records, "_CHUNK_BYTES", 2 * 144 * 176 * 3)
    assert encode(Watched(three[0].info, three[0].all_frames, three[0].all_masks)) == at_once
    assert asked == [2, 2, 1]


def test_a_copy_of_a_record_loses_nothing(three: list[Clip], written: Path) -> None:
    read = _by_id(RecordSource(written))
    for clip in three:
        again, first = encode(read[clip.info.id]), encode(clip)
        assert again.pop("fps") == pytest.approx(first.pop("fps"))
        assert again == first


@pytest.mark.quick
def test_a_source_travels_to_other_processes_without_tensorflow_or_jax(written: Path) -> None:
    source = RecordSource(written)
    first = source[0].info.id
    code = (
        "import pickle, sys\n"
        "source = pickle.loads(sys.stdin.buffer.read())\n"
        "print(source[0].info.id, source[0].frames([0]).dtype)\n"
        "print([name for name in ('jax', 'tensorflow', 'torch') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(source), capture_output=True, check=True)
    assert run.stdout.decode().splitlines() == [f"{first} uint8", "[]"]


def test_wrong_folders_and_splits_are_told(written: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        RecordSource(tmp_path / "none")
    with pytest.raises(UserError, match=r"holds no dataset_info\.json"):
        RecordSource(tmp_path)
    for split in ("validation", "t*", "train.array_record-00000-of-00001"):
        with pytest.raises(UserError, match=rf"has no split '{re.escape(split)}'; it has test, train"):
            RecordSource(written, split)
    for version in ("1.0.0", "1.0.1"):
        shutil.copytree(records.dataset_folder(written), tmp_path / "three_clips" / version)
    with pytest.raises(UserError, match="holds several data sets"):
        RecordSource(tmp_path / "three_clips")
    assert len(RecordSource(tmp_path / "three_clips" / "1.0.1")) == 3
    (file,) = records.record_files(tmp_path / "three_clips" / "1.0.1", "train")
    file.with_name(file.name.replace("00001", "two")).touch()  # of no data set
    file.rename(file.with_name(file.name.replace("00001", "00003")))
    with pytest.raises(UserError, match="has 1 of the 3 files of split 'train'"):
        RecordSource(tmp_path / "three_clips" / "1.0.1")


def test_damaged_records_are_told(written: Path) -> None:
    source = RecordSource(written)
    by_id = {source[index].info.id: source._records[index] for index in range(3)}
    record, other = by_id["straße/ж 1"], RecordClip(by_id["cat"])
    with pytest.raises(UserError, match="a record is damaged"):
        RecordClip(record[:1000])
    with pytest.raises(UserError, match="a record lacks areas, augmented_caption"):
        RecordClip(b"")
    clip = RecordClip(record)
    frames = clip._values["frames"].bytes_list.value
    frames[1], frames[2] = b"no picture", other._values["frames"].bytes_list.value[0]
    assert clip.frames([0]).shape == (1, 144, 176, 3)
    for index in (1, 2):
        with pytest.raises(UserError, match=r"'straße/ж 1' is damaged.*176x144"):
            clip.frames([index])


def changed(record: bytes, change: Callable[[Any], object]) -> bytes:
    """A record with other fields."""
    example = tf_example_pb2.Example.FromString(record)
    change(example.features.feature)
    return example.SerializeToString()


def put(field: str, kind: str, *values: Any) -> Callable[[Any], object]:
    """Sets all values of a field."""

    def change(fields: Any) -> None:
        fields[field].Clear()
        getattr(fields[field], f"{kind}_list").value.extend(values)

    return change


HOSTILE: dict[str, tuple[Callable[[Any], object], str]] = {
    "id-bad-utf-8": (put("id", "bytes", b"\xff"), "a record is damaged: its id is no UTF-8 text"),
    "id-empty": (put("id", "bytes", b""), "a record is damaged: its id is empty"),
    "id-none": (put("id", "bytes"), "a record is damaged: its id has 0 values, not 1"),
    "id-a-number": (put("id", "int64", 7), "a record is damaged: its id has 0 values, not 1"),
    **{
        f"{name}-bad-utf-8": (put(name, "bytes", b"caf\xe9"), f"its {name} is no UTF-8 text")
        for name in ("source", "caption", "augmented_caption", "label", "provenance")
    },
    "captions-two": (put("caption", "bytes", b"a", b"b"), "its caption has 2 values, not 1"),
    "category-99": (put("category", "int64", 99), "its category is 99, and there are 0 to 3"),
    "category-negative": (put("category", "int64", -1), "its category is -1"),
    "category-none": (put("category", "int64"), "its category has 0 values, not 1"),
    **{f"fps-{fps}": (put("fps", "float", fps), "its fps is ") for fps in (0.0, -8.0, math.nan, math.inf)},
    "fps-none": (put("fps", "float"), "its fps has 0 values, not 1"),
    "size-one": (put("size", "int64", 144), "its size has 1 values, not 2"),
    "size-zero": (put("size", "int64", 0, 176), "it has 5 frames of 176x0"),
    "size-negative": (put("size", "int64", -144, -176), "it has 5 frames of -176x-144"),
    "size-of-a-frame": (put("size", "int64", 30000, 30000), "have over 89 megapixels each or 3000 together"),
    "size-of-all": (put("frames", "bytes", *[b"x"] * 120_000), "have over 89 megapixels each or 3000 together"),
    "frames-none": (put("frames", "bytes"), "it has 0 frames of 176x144"),
    "masks-fewer": (lambda fields: fields["masks"].bytes_list.value.pop(), "it has 4 masks for 5 frames"),
    "masks-none": (put("masks", "bytes"), "its areas has 5 values, not 0"),
    "areas-fewer": (lambda fields: fields["areas"].float_list.value.pop(), "its areas has 4 values, not 5"),
    "areas-nan": (put("areas", "float", 0, 0, math.nan, 0, 0), "its areas are not all from 0 to 1"),
    "areas-over-1": (put("areas", "float", 0, 0, 0, 0, 1.5), "its areas are not all from 0 to 1"),
    "areas-below-0": (put("areas", "float", -0.5, 0, 0, 0, 0), "its areas are not all from 0 to 1"),
    "provenance-a-list": (put("provenance", "bytes", b"[1]"), "its provenance is no JSON object"),
    "provenance-cut": (put("provenance", "bytes", b'{"a": '), "its provenance is no JSON: Expecting value"),
    "provenance-digits": (put("provenance", "bytes", b'{"a": ' + b"1" * 5000 + b"}"), "a number of too many digits"),
    **{
        f"provenance-{depth}-deep": (
            put("provenance", "bytes", b'{"a": ' + b"[" * depth + b"]" * depth + b"}"),
            "its provenance is no JSON that is read: it has lists or objects more than 100 deep",
        )
        for depth in (100, 500, 100_000)
    },
}


@pytest.mark.parametrize(("change", "complaint"), HOSTILE.values(), ids=HOSTILE)
def test_a_record_with_an_impossible_field_is_not_opened(
    written: Path, change: Callable[[Any], object], complaint: str
) -> None:
    record = next(record for record in RecordSource(written)._records if RecordClip(record).info.length == 5)
    with pytest.raises(UserError) as caught:
        RecordClip(changed(record, change))
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(("record 'straße/ж 1' is damaged: ", "a record is damaged: its id"))
    assert str(caught.value).endswith("; write the records again")
    assert "\n" not in str(caught.value)


def test_a_small_picture_that_claims_to_be_enormous_is_not_unpacked(written: Path) -> None:
    record = next(record for record in RecordSource(written)._records if RecordClip(record).info.length == 5)
    side = 30_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes((side // 8 + 1) * side), 9)), (b"IEND", b"")
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    assert len(bomb) < 200_000
    code = (
        "import resource, sys\n"
        "from magdiff_jax.data.records import RecordClip\n"
        "from magdiff_jax.errors import UserError\n"
        "clip = RecordClip(sys.stdin.buffer.read())\n"
        "whole = clip.frames([0])\n"  # all that decoding itself needs is loaded now
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for read in (clip.frames, clip.masks):\n"
        "    try:\n"
        "        read([1])\n"
        "    except UserError as error:\n"
        "        print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )

    def spoil(fields: Any) -> None:
        for name in ("frames", "masks"):
            fields[name].bytes_list.value[1] = bomb

    run = subprocess.run([sys.executable, "-c", code], input=changed(record, spoil), capture_output=True, check=True)
    frame, mask, kilobytes = run.stdout.decode().splitlines()
    assert frame == mask
    assert "is no 176x144-pixel PNG or JPEG picture; write the records again" in frame
    assert int(kilobytes) < 100_000  # unpacked, it has 900 MB


def test_a_clip_that_no_reader_would_open_is_not_written() -> None:
    class Long(DecodedClip):
        info = ClipInfo("long", "clips", 12_000, 512, 512, 8.0)

        def __init__(self) -> None: ...

    with pytest.raises(UserError, match=r"clip 'long': its frames, 12000 of 512x512, have over .* shorter or smaller"):
        encode(Long())


@pytest.mark.parametrize("damage", ["cut", "empty", "overwritten"])
def test_a_damaged_file_is_told(written: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(records.dataset_folder(written), tmp_path / "records"))
    (file,) = records.record_files(folder, "train")
    whole = file.read_bytes()
    file.write_bytes(
        {"cut": whole[:-200], "empty": b"", "overwritten": whole[:3000] + bytes(64) + whole[3064:]}[damage]
    )
    source = RecordSource(folder)
    with pytest.raises(UserError, match="a file of records is damaged"):
        _ = [source[index] for index in range(len(source))]
