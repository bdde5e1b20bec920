"""As vidrd_sd21_256.py, with the temporal layers trained alone and Stable Diffusion left as it is; on videos only.

python -m magdiff_jax.train --config configs/vidrd_sd21_256_temporal.py --workdir runs/vidrd-temporal
"""

from ml_collections import ConfigDict

from configs import vidrd_sd21_256


def get_config() -> ConfigDict:
    config = vidrd_sd21_256.get_config()
    config.trainable = ((r"^unet/.*temp_", True), ("rest", False))
    config.images.share = 0.0
    return config
