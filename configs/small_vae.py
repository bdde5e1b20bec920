"""The VAE of configs/small.py, from nothing.

python -m magdiff_jax.train --config configs/small_vae.py --workdir runs/small-vae
"""

from ml_collections import ConfigDict

from configs import small


def get_config() -> ConfigDict:
    config = small.get_config()
    config.objective = "vae"
    config.steps = 2_000
    config.batch_size = 4
    config.start = {"folder": "", "networks": small.NETWORKS, "tokenizer": "captions"}
    config.trainable = ((r"^vae/", True), ("rest", False))
    config.optimizer.learning_rate = 2e-3
    config.validation.update(every=250, sample_every=1_000)
    config.checkpoints.every = 500
    return config
