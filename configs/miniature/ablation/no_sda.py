"""The ablation: without SDA, the subject's whole picture in place of its cut-out.

python -m magdiff_jax.train --config configs/miniature/ablation/no_sda.py --workdir runs/ablation/no_sda
"""

from ml_collections import ConfigDict

from configs.miniature.ablation import full


def get_config() -> ConfigDict:
    config = full.get_config()
    config.data.sda = False
    return config
