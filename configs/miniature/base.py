"""MagDiff in miniature, 3 of 4: the text-to-video base, as VidRD is MagDiff's; it knows no subject but by its name.

python -m magdiff_jax.train --config configs/miniature/base.py --workdir runs/miniature/base
"""

from ml_collections import ConfigDict

from configs import small
from configs.miniature import vae

UNET = {**vae.UNET, "apa": False, "hfa_levels": ()}
# The standard deviation of its latents is 0.964 in the miniature that comes along.
VAE = {**vae.NETWORKS["vae"], "scaling_factor": 1.06}
# A tower that learns from single pictures forgets, layer by layer, what those do not show: whether a subject moves left
# or right. After the first layer all words are there still; Stable Diffusion 2.1 leaves CLIP's last layer out, too.
TEXT_ENCODER = {**vae.NETWORKS["text_encoder"], "num_hidden_layers": 1}


def get_config() -> ConfigDict:
    config = vae.get_config()
    config.objective = "diffusion"
    config.steps = 10_000
    config.batch_size = 8
    # Most steps take single frames: as much work as clips, of eight times as many subjects and backgrounds.
    config.images = {"share": 0.7, "sources": (small.emoji_motion("train", 100_000),), "batch_size": 64}
    networks = {"unet": UNET, "vae": VAE, "text_encoder": TEXT_ENCODER}
    config.start = {"folder": "runs/miniature/clip/model", "networks": networks, "tokenizer": ""}
    config.trainable = ((r"^unet/", True), ("rest", False))
    config.data.update(frames=8, stride=1)
    # The less noisy half of the timesteps is learnt soon, and decides nothing about subjects and motions.
    config.timestep_shift = 3.0
    config.optimizer.update(learning_rate=1e-3, ema=0.0)
    return config
