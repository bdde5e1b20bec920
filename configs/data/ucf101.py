"""UCF-101 for FVD and IS (supplement, section D): the subject of each video segmented, else a null mask.

python -m magdiff_jax.data.prepare --config configs/data/ucf101.py --out DIR --config.splits.test.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs.data import evaluation


def get_config() -> ConfigDict:
    config = evaluation.get_config()
    config.name = "ucf101"
    config.splits = {"test": {"kind": "ucf101", "folder": "downloads/ucf101", "split": "test", "fold": 1}}
    return config
