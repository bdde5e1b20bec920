"""EmojiMotion: a data set that needs no download. Named drawings move over generated backgrounds, with exact masks.

The drawings are by OpenMoji (https://openmoji.org), licence CC BY-SA 4.0; their names and groups are Unicode's.
"""

from magdiff_jax.data.emoji.source import EmojiClip, EmojiMotion, Sample

__all__ = ["EmojiClip", "EmojiMotion", "Sample"]
