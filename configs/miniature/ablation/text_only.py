"""The ablation: the text-to-video base, which knows no subject but by its name.

python -m magdiff_jax.train --config configs/miniature/ablation/text_only.py --workdir runs/ablation/text_only
"""

from ml_collections import ConfigDict

from configs.miniature.ablation import full


def get_config() -> ConfigDict:
    config = full.get_config()
    config.start.networks.unet.update(apa=False, hfa_levels=())
    config.data.subjects = "none"
    return config
