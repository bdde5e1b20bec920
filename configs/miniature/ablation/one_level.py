"""The ablation: HFA with the clip's own size alone, as in the released code.

python -m magdiff_jax.train --config configs/miniature/ablation/one_level.py --workdir runs/ablation/one_level
"""

from ml_collections import ConfigDict

from configs.miniature.ablation import full


def get_config() -> ConfigDict:
    config = full.get_config()
    config.start.networks.unet.hfa_levels = (32,)
    return config
