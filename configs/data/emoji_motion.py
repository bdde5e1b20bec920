"""EmojiMotion as records, all four splits; the loader also makes its clips on the fly.

python -m magdiff_jax.data.prepare --config configs/data/emoji_motion.py --out DIR
"""

from ml_collections import ConfigDict

from configs.data import weightless


def get_config() -> ConfigDict:
    config = weightless.get_config()
    config.name = "emoji_motion"
    config.training = False
    config.cut.shot = 255.0  # a background may pan fast
    lengths = {"train": 10_000, "validation": 500, "test": 500, "edit": 500}
    config.splits = {
        split: {"kind": "emoji_motion", "split": split, "length": length, "size": 64, "frames": 8, "seed": 0}
        for split, length in lengths.items()
    }
    return config
