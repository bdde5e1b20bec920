"""DAVIS for editing (supplement, section D): its own masks, labels by Algorithm 1.

python -m magdiff_jax.data.prepare --config configs/data/davis.py --out DIR --config.splits.val.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs.data import evaluation


def get_config() -> ConfigDict:
    config = evaluation.get_config()
    config.name = "davis"
    config.splits = {"val": {"kind": "davis", "folder": "downloads/davis", "split": "val", "captions": ""}}
    return config
