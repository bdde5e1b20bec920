"""Where clips come from."""

from collections.abc import Mapping
from typing import Any

from magdiff_jax.data import kinds
from magdiff_jax.data.clip import Source

KINDS = {
    "records": "magdiff_jax.data.records.RecordSource",
    "emoji_motion": "magdiff_jax.data.emoji.EmojiMotion",
    "folder": "magdiff_jax.data.sources.folder.FolderSource",
    "msrvtt": "magdiff_jax.data.sources.msrvtt.MsrVttSource",
    "ucf101": "magdiff_jax.data.sources.ucf101.Ucf101Source",
    "davis": "magdiff_jax.data.sources.davis.DavisSource",
    "dreambooth": "magdiff_jax.data.sources.dreambooth.DreamBoothSource",
    "annotations": "magdiff_jax.data.sources.annotations.AnnotationsSource",
}


def open_source(spec: Mapping[str, Any]) -> Source:
    """The source that a config names, such as `{"kind": "records", "folder": "…", "split": "train"}`.

    Raises:
        ConfigError: an unknown kind, or arguments that this kind does not take or lacks.
        UserError: what it names is not there.
    """
    return kinds.make("source", KINDS, spec)
