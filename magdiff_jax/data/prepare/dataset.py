"""From a finished `Store` to a record data set, the list of what was put aside, and the counts."""

import contextlib
import io
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magdiff_jax.data.builder import ClipBuilder
from magdiff_jax.data.clip import Source
from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.store import Store
from magdiff_jax.data.records import RecordClip
from magdiff_jax.errors import UserError
from magdiff_jax.replacing import replacing
from magdiff_jax.text import to_json

REJECTED, SUMMARY = "rejected.jsonl", "summary.json"


class _Files:
    """Records in files of their own."""

    def __init__(self, files: list[Path]):
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> RecordClip:
        return RecordClip(self._files[index].read_bytes())


def write_dataset(config: PrepareConfig, videos: Mapping[str, int], store: Store, out: Path) -> dict[str, Any]:
    """Write `<out>/<name>/1.0.0/*.array_record`, and beside that folder rejected.jsonl and summary.json, last of all.

    Args:
        config: that the store's outcomes follow from.
        videos: how many there were in each split.
        store: of all outcomes.
        out: folder of data sets.

    Returns:
        The summary: videos, clips, null masks and rejections by rule for each split.

    Raises:
        UserError: no clip is left.
    """
    sources: dict[str, Source] = {split: _Files(store.records(split)) for split in config.splits}
    rejections = store.rejections()
    lines = (to_json(rejection._asdict()) + "\n" for rejection in rejections)
    with replacing(store.folder.parent / REJECTED) as new:
        new.write_text("".join(lines), encoding="utf-8")
    counts = {split: Counter(one.rule for one in rejections if one.split == split) for split in config.splits}
    empty = [split for split, source in sources.items() if not len(source)]
    if empty:
        rules = ", ".join(f"{count} by {rule}" for rule, count in sum(counts.values(), Counter()).most_common())
        raise UserError(
            f"no clip is left in {', '.join(empty)}: {rules or 'the source is empty'}; see "
            f"{store.folder.parent / REJECTED}"
        )

    class Prepared(ClipBuilder, skip_registration=True):  # type: ignore[call-arg]
        """Clips with their subjects' masks, prepared by magdiff_jax."""

        name = config.name

        def sources(self, manual_dir: Path) -> Mapping[str, Source]:
            return sources

    # What a run has left that was killed while it wrote; without a summary it may not be whole.
    for left in store.folder.parent.glob("*1.0.0"):
        shutil.rmtree(left)
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS speaks of downloads, and there are none
        Prepared(data_dir=out).download_and_prepare()
    splits = {
        split: {
            "videos": videos[split],
            "clips": len(source),
            "null_masks": sum(source[index].areas() is None for index in range(len(source))),
            "rejected": dict(sorted(counts[split].items())),
        }
        for split, source in sources.items()
    }
    summary = {"name": config.name, "fingerprint": config.fingerprint(), "config": config.to_dict(), "splits": splits}
    with replacing(store.folder.parent / SUMMARY) as new:
        new.write_text(to_json(summary, indent=2) + "\n", encoding="utf-8")
    return summary
