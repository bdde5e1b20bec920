"""MagDiff as in the paper (supplement, sections B and D): batch 64, 50,000 steps, from Stable Diffusion 2.1 and VidRD.

    python -m magdiff_jax.train --config configs/magdiff_sd21_256.py --workdir runs/magdiff

Make models/magdiff-start with tools/convert_torch_weights.py and records/prepared with magdiff_jax.data.prepare first
(README.md). As it stands it is for one host of 80 GB GPUs, in bfloat16: parameters repeated on each, clips shared out.
590,871,392 parameters of the U-Net are trained, and the resampler.
"""

from ml_collections import ConfigDict

from magdiff_jax.sharding.rules import SHARDING

# The released patterns, HFA's new projections and the image-prompt resampler; the VAE and the CLIP towers stay frozen.
TRAINABLE = (
    (r"^unet/.*(temp_|transformer_blocks/\d+/|conv_in/)|^unet/hfa_projections/|^resampler/", True),
    ("rest", False),
)


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "objective": "diffusion",
            "steps": 50_000,
            "batch_size": 64,
            "accumulate": 1,
            "seed": 0,
            "start": {"folder": "models/magdiff-start", "networks": {}, "tokenizer": ""},
            "trainable": TRAINABLE,
            "data": {
                "sources": ({"kind": "records", "folder": "records/prepared"},),
                "seed": 0,
                "frames": 8,
                "stride": 1,
                "height": 256,
                "width": 256,
                "crop": "centre",
                "flip": False,
                "subjects": "first",
                "sda": True,
                "clip_crop": 448,
                "prompt_dropout": 0.15,
                "threads": 8,
                "workers": 0,
                "buffer": 2,
            },
            "cache": "",
            "images": {"share": 0.0, "sources": (), "batch_size": 64},
            "validation": {
                "sources": (),
                "every": 500,
                "batches": 4,
                "sample_every": 2_500,
                "samples": 4,
                "sampling_steps": 50,
                "guidance_scale": 7.5,
            },
            "schedule": {"zero_terminal_snr": True, "prediction_type": "epsilon"},
            "sampling": {"zero_terminal_snr": False, "prediction_type": "epsilon"},
            "min_snr_gamma": 0.0,
            "timestep_shift": 1.0,
            "subject_weight": 1.0,
            "kl_weight": 1e-6,
            "optimizer": {
                "name": "adamw",
                "learning_rate": 5e-5,
                "schedule": "constant",
                "warmup_steps": 100,
                "weight_decay": 0.01,
                "b1": 0.9,
                "b2": 0.999,
                "epsilon": 1e-8,
                "clip_norm": 0.0,
                "ema": 0.0,
            },
            "precision": {
                "compute": "bfloat16",
                "frozen": "bfloat16",
                "loss_scale": 65536.0,
                "growth_interval": 2000,
            },
            "remat": True,
            "mesh": {"data": -1, "fsdp": 1, "frame": 1},
            "sharding": SHARDING,
            "checkpoints": {"every": 1_000, "keep": 3},
            "log_every": 50,
        }
    )
