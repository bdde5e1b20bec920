"""MagDiff in miniature, 3 of 4: the text-to-video base, as VidRD is MagDiff's; it knows no subject but by its name.

python -m magdiff_jax.train --config configs/miniature/base.py --workdir runs/miniature/base
"""

from ml_collections import ConfigDict

from configs.miniature import vae

UNET = {**vae.UNET, "apa": False, "hfa_levels": ()}


def get_config() -> ConfigDict:
    config = vae.get_config()
    config.objective = "diffusion"
    config.steps = 20_000
    config.batch_size = 16
    config.start = {"folder": "runs/miniature/clip/model", "networks": {"unet": UNET}, "tokenizer": ""}
    config.trainable = ((r"^unet/", True), ("rest", False))
    config.optimizer.learning_rate = 1e-3
    return config
