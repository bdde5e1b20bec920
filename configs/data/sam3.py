"""As paper.py, with SAM 3 in the place of Grounding DINO and SAM 2."""

from ml_collections import ConfigDict

from configs.data import paper


def get_config() -> ConfigDict:
    config = paper.get_config()
    config.segmenter = {"kind": "sam3", "model": "facebook/sam3"}
    return config
