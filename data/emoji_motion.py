"""TFDS builder of EmojiMotion."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.emoji import EmojiMotion


@dataclass(eq=False)
class EmojiMotionConfig(tfds.core.BuilderConfig):
    """The size of the frames in pixels, the number of clips, and the arguments of `EmojiMotion`."""

    size: int = 64
    frames: int = 8
    seed: int = 0
    training_clips: int = 20_000
    evaluation_clips: int = 1_000


class EmojiMotionClips(ClipBuilder):
    """EmojiMotion: about 1,300 named drawings in motion over generated backgrounds, with exact masks and parameters.

    The splits share no drawing; the clips of "edit" are those of "test" over other backgrounds. All drawings are by
    OpenMoji, the open-source emoji and icon project (https://openmoji.org), licence CC BY-SA 4.0; so are the clips.
    """

    BUILDER_CONFIGS: ClassVar = [
        EmojiMotionConfig(name="64px", description="8 frames of 64 x 64 pixels.", size=64),
        EmojiMotionConfig(name="256px", description="8 frames of 256 x 256 pixels.", size=256),
        EmojiMotionConfig(
            name="sample", description="A few to look at.", size=256, training_clips=64, evaluation_clips=16
        ),
    ]
    HOMEPAGE = "https://openmoji.org"
    LICENSE = "CC BY-SA 4.0: name OpenMoji (https://openmoji.org), and share alike."

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        config = self.builder_config
        lengths = {"train": config.training_clips} | dict.fromkeys(
            ("validation", "test", "edit"), config.evaluation_clips
        )
        return {
            split: EmojiMotion(split, length, config.size, config.frames, config.seed)
            for split, length in lengths.items()
        }
