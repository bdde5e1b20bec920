"""MagDiff in miniature, 4 of 4: MagDiff on its base, trained by the paper's rules.

python -m magdiff_jax.train --config configs/miniature/magdiff.py --workdir runs/miniature/magdiff
"""

from ml_collections import ConfigDict

from configs import magdiff_sd21_256
from configs.miniature import base, vae


def get_config() -> ConfigDict:
    config = base.get_config()
    config.start = {"folder": "runs/miniature/base/model", "networks": {"unet": vae.UNET}, "tokenizer": ""}
    config.steps = 10_000
    # A single frame shows the subject where it is: how an edit has it in every frame, at an eighth of a clip's work.
    config.images.share = 0.25
    config.trainable = magdiff_sd21_256.TRAINABLE
    config.optimizer.ema = 0.99
    return config
