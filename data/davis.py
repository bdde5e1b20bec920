"""TFDS builder of DAVIS 2016 and 2017."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.sources.davis import OBTAIN, DavisSource


@dataclass(eq=False)
class DavisConfig(tfds.core.BuilderConfig):
    """The year of the lists and the folder of the pictures."""

    year: int = 2017
    resolution: str = "480p"


class DavisClips(ClipBuilder):
    """DAVIS: short sequences with masks of their objects, drawn by people; all objects together are the subject.

    The caption is the sequence's name in words.
    """

    BUILDER_CONFIGS: ClassVar = [
        DavisConfig(name="2017_480p", description="DAVIS 2017, 480 lines.", year=2017, resolution="480p"),
        DavisConfig(name="2017_full", description="DAVIS 2017, as filmed.", year=2017, resolution="Full-Resolution"),
        DavisConfig(name="2016_480p", description="DAVIS 2016, 480 lines.", year=2016, resolution="480p"),
        DavisConfig(name="2016_1080p", description="DAVIS 2016, 1080 lines.", year=2016, resolution="1080p"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"For the manual_dir: {OBTAIN}."
    HOMEPAGE = "https://davischallenge.org/"
    LICENSE = "CC BY-NC 4.0; some videos have terms of their own, see SOURCES.md in the data."
    CITATION = """@inproceedings{perazzi2016davis,
  title = {A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation},
  author = {Perazzi, Federico and Pont-Tuset, Jordi and McWilliams, Brian and {Van Gool}, Luc and Gross, Markus
            and Sorkine-Hornung, Alexander},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2016}
}
@article{ponttuset2017davis,
  title = {The 2017 {DAVIS} Challenge on Video Object Segmentation},
  author = {Pont-Tuset, Jordi and Perazzi, Federico and Caelles, Sergi and Arbel\\'aez, Pablo
            and Sorkine-Hornung, Alexander and {Van Gool}, Luc},
  journal = {arXiv:1704.00675},
  year = {2017}
}"""

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        config = self.builder_config
        return {split: DavisSource(manual_dir, split, config.resolution, config.year) for split in ("train", "val")}
