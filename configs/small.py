"""MagDiff on a laptop's CPU: EmojiMotion at 32 x 32 pixels, all made fresh but the VAE (configs/small_vae.py).

    python -m magdiff_jax.train --config configs/small_vae.py --workdir runs/small-vae
    python -m magdiff_jax.export --workdir runs/small-vae --out runs/small-vae/model
    python -m magdiff_jax.train --config configs/small.py --workdir runs/small

`make train` does all of it. The CLIP towers stay as random as they start: they tell words and pictures apart, no more.
All of the U-Net is trained, since it starts from nothing. Half an hour on one core: enough for something of the
subject's colours where an edit has it, not for the subject, nor for what captions say of backgrounds.
"""

from ml_collections import ConfigDict

from configs import magdiff_sd21_256

SIZE = 32
NETWORKS = {
    "unet": {
        "block_out_channels": (48, 96),
        "down_block_types": ("CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        "up_block_types": ("CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
        "layers_per_block": 1,
        "num_attention_heads": (3, 6),
        "cross_attention_dim": 64,
        "norm_num_groups": 16,
        "hfa_levels": (48, 40, 32),
    },
    # The standard deviation of its latents is 1.1 after configs/small_vae.py: near enough to one.
    "vae": {"block_out_channels": (16, 32, 64), "layers_per_block": 1, "norm_num_groups": 8, "scaling_factor": 1.0},
    "text_encoder": {
        "vocab_size": 2048,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
    },
    "vision": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "heads": 4, "output_dim": 64},
    "resampler": {
        "dim": 64,
        "depth": 2,
        "dim_head": 32,
        "heads": 2,
        "num_queries": 4,
        "embedding_dim": 64,
        "output_dim": 64,
    },
}


def emoji_motion(split: str, length: int) -> dict:
    return {"kind": "emoji_motion", "split": split, "length": length, "size": SIZE, "frames": 8}


def get_config() -> ConfigDict:
    config = magdiff_sd21_256.get_config()
    config.steps = 1_500
    config.batch_size = 8
    fresh = {name: NETWORKS[name] for name in ("unet", "text_encoder", "vision", "resampler")}
    config.start = {"folder": "runs/small-vae/model", "networks": fresh, "tokenizer": ""}
    config.trainable = ((r"^(unet|resampler)/", True), ("rest", False))
    config.data.update(
        sources=(emoji_motion("train", 100_000),),
        height=SIZE,
        width=SIZE,
        clip_crop=SIZE,
        prompt_dropout=0.1,
        threads=1,
    )
    config.validation.update(
        sources=(emoji_motion("validation", 1_000),),
        every=100,
        sample_every=500,
        samples=4,
        sampling_steps=25,
        guidance_scale=3.0,
    )
    # A background's colour is decided at the noisiest timestep: training and sampling both begin at pure noise.
    config.schedule.update(zero_terminal_snr=True, prediction_type="v_prediction")
    config.sampling = {"zero_terminal_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    config.optimizer.update(learning_rate=1e-3, schedule="cosine", clip_norm=1.0, ema=0.99)
    config.precision.update(compute="float32", frozen="float32")
    config.remat = False
    config.checkpoints.every = 200
    config.log_every = 10
    return config
