"""EmojiMotion as records."""

import importlib.util
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from magdiff_jax.data.emoji import EmojiMotion
from magdiff_jax.data.records import RecordSource

BUILDER = Path(__file__).parents[3] / "data" / "emoji_motion.py"


def test_clips_become_records(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("builder_of_emoji_motion", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # It registers itself for `tfds.builder`, once in a process.
    with tfds.core.registered.skip_registration():
        spec.loader.exec_module(module)
    assert {"64px", "256px", "sample"} == set(module.EmojiMotionClips.builder_configs)

    config = module.EmojiMotionConfig(name="tiny", size=48, seed=2, training_clips=4, evaluation_clips=2)
    builder = module.EmojiMotionClips(data_dir=tmp_path, config=config)
    builder.download_and_prepare()
    assert "OpenMoji" in builder.info.description
    for split, length in (("train", 4), ("validation", 2), ("test", 2), ("edit", 2)):
        clips, records = EmojiMotion(split, length, 48, seed=2), RecordSource(Path(builder.data_dir), split)
        written = {record.info.id: record for record in (records[index] for index in range(len(records)))}
        assert len(written) == length
        for index in range(length):
            clip = clips[index]
            record = written[clip.info.id]
            assert record.info == clip.info
            np.testing.assert_array_equal(record.masks(range(8)), clip.masks(range(8)))
            assert np.abs(record.frames(range(8)).astype(int) - clip.frames(range(8))).mean() < 3
