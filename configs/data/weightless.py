"""As paper.py, without downloads: labels from the captions alone, masks by GrabCut in a box, small videos too.

    python -m magdiff_jax.data.prepare --config configs/data/weightless.py --out DIR \\
        --config.splits.train.folder=VIDEOS --config.splits.train.captions=CAPTIONS.csv

The box of each video is the captions' column "box" (x,y,width,height in pixels), else the middle of the frame.
"""

from ml_collections import ConfigDict

from configs.data import paper


def get_config() -> ConfigDict:
    config = paper.get_config()
    config.captioner = None
    config.segmenter = {"kind": "grabcut"}
    config.rules.short_side = 128
    return config
