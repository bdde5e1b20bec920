"""TFDS builder of a plain folder of videos."""

from collections.abc import Mapping
from pathlib import Path

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.sources.folder import FolderSource


class FolderClips(ClipBuilder):
    """A folder of videos with captions and, perhaps, masks."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The manual_dir holds videos/, and perhaps captions.csv or captions.jsonl and masks/; see data/README.md."
    )
    LICENSE = "That of the videos."

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        tables = [manual_dir / name for name in ("captions.csv", "captions.jsonl") if (manual_dir / name).is_file()]
        masks = manual_dir / "masks"
        return {
            "train": FolderSource(
                manual_dir / "videos", tables[0] if tables else None, masks if masks.is_dir() else None
            )
        }
