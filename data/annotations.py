"""TFDS builder of clips in the layout of MagDiff's released code."""

from collections.abc import Mapping
from pathlib import Path

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.sources.annotations import OBTAIN, AnnotationsSource


class AnnotationsClips(ClipBuilder):
    """Clips in the layout that MagDiff's released code trains from: annotations.jsonl, videos/ and mask/."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"The manual_dir holds annotations.jsonl, videos/ and mask/: {OBTAIN}."
    LICENSE = "That of the videos."

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        return {"train": AnnotationsSource(manual_dir)}
