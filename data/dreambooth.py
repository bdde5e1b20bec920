"""TFDS builder of the DreamBooth subjects."""

from collections.abc import Mapping
from pathlib import Path

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.sources.dreambooth import OBTAIN, DreamBoothSource


class DreamboothClips(ClipBuilder):
    """DreamBooth: 30 subjects in a few pictures each, every one a clip of one frame.

    The class is the label. The subject is not segmented.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"For the manual_dir: {OBTAIN}."
    HOMEPAGE = "https://github.com/google/dreambooth"
    LICENSE = "Pictures from Unsplash (Unsplash licence) and by the authors; see references_and_licenses.txt there."
    CITATION = """@inproceedings{ruiz2023dreambooth,
  title = {{DreamBooth}: Fine Tuning Text-to-Image Diffusion Models for Subject-Driven Generation},
  author = {Ruiz, Nataniel and Li, Yuanzhen and Jampani, Varun and Pritch, Yael and Rubinstein, Michael
            and Aberman, Kfir},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2023}
}"""

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        return {"test": DreamBoothSource(manual_dir)}
