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
    # As the paper trains: the subject in the first frame alone, all timesteps and latents alike, AdamW.
    config.data.subjects = "first"
    config.timestep_shift = 1.0
    config.subject_weight = 1.0
    config.optimizer.name = "adamw"
    config.images.share = 0.25
    config.validation.sample_every = 0
    return config
