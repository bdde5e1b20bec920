"""DreamBooth's subjects (supplement, section D): pictures as clips of one frame, their subjects segmented.

python -m magdiff_jax.data.prepare --config configs/data/dreambooth.py --out DIR --config.splits.test.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs.data import evaluation


def get_config() -> ConfigDict:
    config = evaluation.get_config()
    config.name = "dreambooth"
    config.splits = {"test": {"kind": "dreambooth", "folder": "downloads/dreambooth"}}
    config.cut.least_frames = 1
    return config
