"""As paper.py, for an evaluation set: no rule applies, and where no subject is found the whole frame is kept.

python -m magdiff_jax.data.prepare --config configs/data/evaluation.py --out DIR --config.splits.test.folder=VIDEOS
"""

from ml_collections import ConfigDict

from configs.data import paper


def get_config() -> ConfigDict:
    config = paper.get_config()
    config.name = "evaluation"
    config.training = False
    config.splits = {"test": {"kind": "folder", "folder": "videos", "captions": "", "masks": ""}}
    return config
