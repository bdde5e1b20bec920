"""TFDS builder of UCF-101."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.sources.ucf101 import FOLDS, OBTAIN, SPLITS, Ucf101Source


@dataclass(eq=False)
class Ucf101Config(tfds.core.BuilderConfig):
    """One of the three divisions of the videos in train and test."""

    fold: int = 1


class Ucf101Clips(ClipBuilder):
    """UCF-101: 13,320 videos of 101 human actions; the caption is the action in words.

    The subject is not segmented.
    """

    BUILDER_CONFIGS: ClassVar = [
        Ucf101Config(name=f"fold{n}", description=f"Fold {n} of three.", fold=n) for n in FOLDS
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"For the manual_dir: {OBTAIN}."
    HOMEPAGE = "https://www.crcv.ucf.edu/data/UCF101.php"
    LICENSE = "The videos are from YouTube and belong to their owners; known as for research only. See the homepage."
    CITATION = """@article{soomro2012ucf101,
  title = {{UCF101}: A Dataset of 101 Human Actions Classes From Videos in The Wild},
  author = {Soomro, Khurram and Zamir, Amir Roshan and Shah, Mubarak},
  journal = {arXiv:1212.0402},
  year = {2012}
}"""

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        return {split: Ucf101Source(manual_dir, split, self.builder_config.fold) for split in SPLITS}
