"""The ablation: without HFA; APA alone knows the subject.

python -m magdiff_jax.train --config configs/miniature/ablation/no_hfa.py --workdir runs/ablation/no_hfa
"""

from ml_collections import ConfigDict

from configs.miniature.ablation import full


def get_config() -> ConfigDict:
    config = full.get_config()
    config.start.networks.unet.hfa_levels = ()
    return config
