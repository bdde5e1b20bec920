"""MSR-VTT for FVD and IS (supplement, section D): the subject of each video segmented, else a null mask.

python -m magdiff_jax.data.prepare --config configs/data/msrvtt.py --out DIR --config.splits.test.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs.data import evaluation


def get_config() -> ConfigDict:
    config = evaluation.get_config()
    config.name = "msrvtt"
    config.splits = {"test": {"kind": "msrvtt", "folder": "downloads/msrvtt", "split": "test"}}
    return config
