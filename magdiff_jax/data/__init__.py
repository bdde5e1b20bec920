"""Data: records, sources of clips, the loader, and the preparation of real videos.

A *source* is a random-access sequence of clips; a *clip* decodes the frames and masks that are asked for. Sources are
read by the loader, by the report and by the writer of records; readers of public data sets, EmojiMotion and record
files are all sources.
"""

from magdiff_jax.data.loader import Batch, Loader, LoaderConfig, make_loader

__all__ = ["Batch", "Loader", "LoaderConfig", "make_loader"]
