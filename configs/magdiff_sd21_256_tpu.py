"""The paper's run on a TPU pod slice: bfloat16, parameters and optimizer shared out among all chips.

    python -m magdiff_jax.train --config configs/magdiff_sd21_256_tpu.py --workdir runs/magdiff

Run the same command on every host, with a workdir that all of them see (docs/scaling.md). Slices of more than 64 chips
need a larger batch: --config.batch_size=256.
"""

from ml_collections import ConfigDict

from configs import magdiff_sd21_256


def get_config() -> ConfigDict:
    config = magdiff_sd21_256.get_config()
    config.mesh = {"data": 1, "fsdp": -1, "frame": 1}
    return config
