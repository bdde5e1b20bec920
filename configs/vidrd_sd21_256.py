"""The text-to-video base (VidRD's role): no subject, all of the U-Net trained, on videos and images.

    python -m magdiff_jax.train --config configs/vidrd_sd21_256.py --workdir runs/vidrd

It starts from the same folder as MagDiff, whose U-Net it takes without APA and HFA. MagDiff then starts from the folder
that magdiff_jax.export makes of it, with `config.start.networks = {"unet": {"hfa_levels": (384, 320, 256)}}`.
"""

from ml_collections import ConfigDict

from configs import magdiff_sd21_256


def get_config() -> ConfigDict:
    config = magdiff_sd21_256.get_config()
    config.start.networks = {"unet": {"apa": False, "hfa_levels": ()}}
    config.trainable = ((r"^unet/", True), ("rest", False))
    config.images = {"share": 0.2, "sources": ({"kind": "records", "folder": "records/images"},), "batch_size": 64}
    config.mesh = {"data": 1, "fsdp": -1, "frame": 1}
    return config
