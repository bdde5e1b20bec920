"""TFDS builder of MSR-VTT."""

from collections.abc import Mapping
from pathlib import Path

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.sources.msrvtt import OBTAIN, SPLITS, MsrVttSource


class MsrvttClips(ClipBuilder):
    """MSR-VTT: 10,000 web videos with about twenty captions each, of which the first is the clip's.

    The subject is not segmented.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"For the manual_dir: {OBTAIN}."
    HOMEPAGE = (
        "https://www.microsoft.com/en-us/research/publication/"
        "msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/"
    )
    LICENSE = "The videos are from the web and belong to their owners; no licence is known. See the homepage."
    CITATION = """@inproceedings{xu2016msrvtt,
  title = {{MSR-VTT}: A Large Video Description Dataset for Bridging Video and Language},
  author = {Xu, Jun and Mei, Tao and Yao, Ting and Rui, Yong},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages = {5288--5296},
  year = {2016}
}"""

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        return {split: MsrVttSource(manual_dir, split) for split in SPLITS}
