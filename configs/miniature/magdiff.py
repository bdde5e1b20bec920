"""MagDiff in miniature, 4 of 4: MagDiff on its base, trained by the paper's rules.

python -m magdiff_jax.train --config configs/miniature/magdiff.py --workdir runs/miniature/magdiff
"""

from ml_collections import ConfigDict

from configs import magdiff_sd21_256
from configs.miniature import base, vae


def get_config() -> ConfigDict:
    config = base.get_config()
    config.start = {"folder": "runs/miniature/base/model", "networks": {"unet": vae.UNET}, "tokenizer": ""}
    config.steps = 15_000
    # Single frames bring back the base's textures, which go when subjects are learnt.
    config.images.share = 0.4
    config.trainable = magdiff_sd21_256.TRAINABLE
    # Editing learns to copy each frame's cut-out, generation to carry it on; the clips between show the way.
    config.data.subjects = "random"
    # The subject fills a sixth of a clip: so it has more than a third of the weight.
    config.subject_weight = 3.0
    config.optimizer.ema = 0.99
    return config
