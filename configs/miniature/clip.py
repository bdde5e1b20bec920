"""MagDiff in miniature, 2 of 4: the CLIP pair, on captions, frames and drawings.

python -m magdiff_jax.train --config configs/miniature/clip.py --workdir runs/miniature/clip
"""

from ml_collections import ConfigDict

from configs.miniature import vae


def get_config() -> ConfigDict:
    config = vae.get_config()
    config.objective = "clip"
    config.steps = 800
    config.batch_size = 128
    config.start = {"folder": "runs/miniature/vae/model", "networks": {}, "tokenizer": ""}
    config.trainable = ((r"^(text_encoder|vision)/", True), ("rest", False))
    # Dropped prompts would be pairs that belong to nothing.
    config.data.update(prompt_dropout=0.0, frames=1, stride=1)
    config.optimizer.update(name="adamw", learning_rate=1e-3)
    config.validation.every = 200
    config.validation.batches = 2
    return config
