"""The ablation: without APA; HFA alone knows the subject.

python -m magdiff_jax.train --config configs/miniature/ablation/no_apa.py --workdir runs/ablation/no_apa
"""

from ml_collections import ConfigDict

from configs.miniature.ablation import full


def get_config() -> ConfigDict:
    config = full.get_config()
    config.start.networks.unet.apa = False
    return config
