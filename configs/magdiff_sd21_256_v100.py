"""The paper's run on its own hardware, 8 V100s: float16 with loss scaling, the batch in 4 parts.

    python -m magdiff_jax.train --config configs/magdiff_sd21_256_v100.py --workdir runs/magdiff

Trainable parameters and Adam's moments are shared out (`fsdp`), as 16 GB do not hold them beside the activations.
"""

from ml_collections import ConfigDict

from configs import magdiff_sd21_256


def get_config() -> ConfigDict:
    config = magdiff_sd21_256.get_config()
    config.accumulate = 4
    config.precision.compute = "float16"
    config.precision.frozen = "float16"
    config.mesh = {"data": 1, "fsdp": -1, "frame": 1}
    return config
