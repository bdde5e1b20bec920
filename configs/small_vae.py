"""The VAE of configs/small.py, from nothing.

python -m magdiff_jax.train --config configs/small_vae.py --workdir runs/small-vae
"""

from ml_collections import ConfigDict

from configs import small


def get_config() -> ConfigDict:
    config = small.get_config()
    config.objective = "vae"
    config.steps = 5_000
    config.batch_size = 4
    # A decoder must forgive what so small a denoiser leaves, and latents be of one scale.
    config.kl_weight = 5e-3
    config.start = {"folder": "", "networks": small.NETWORKS, "tokenizer": "captions"}
    config.trainable = ((r"^vae/", True), ("rest", False))
    # A clip's frames are much alike.
    config.data.update(frames=2, stride=4)
    config.optimizer.learning_rate = 2e-3
    config.validation.update(every=1_000, sample_every=5_000)
    config.checkpoints.every = 1_000
    config.log_every = 50
    return config
