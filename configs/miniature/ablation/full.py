"""The ablation: full MagDiff, which the others are compared with.

python -m magdiff_jax.train --config configs/miniature/ablation/full.py --workdir runs/ablation/full

All of them start from the base that comes along and take as many steps. `python tools/ablation.py` trains and measures
them.
"""

from ml_collections import ConfigDict

from configs.miniature import magdiff
from magdiff_jax.shipped import MINIATURE_BASE


def get_config() -> ConfigDict:
    config = magdiff.get_config()
    config.start.folder = str(MINIATURE_BASE)
    config.steps = 700
    config.validation.sample_every = 0
    return config
