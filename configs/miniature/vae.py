"""MagDiff in miniature, 1 of 4: the VAE, from nothing. EmojiMotion at 32 x 32 pixels, a quarter of that as latents.

python -m magdiff_jax.train --config configs/miniature/vae.py --workdir runs/miniature/vae

`make miniature` does all four: this one, clip.py, base.py, magdiff.py.
"""

from ml_collections import ConfigDict

from configs import small, small_vae

# With 6, a fifth of the subjects' variance was lost on the way there and back (docs/ablation.md); now a twentieth is.
LATENT_CHANNELS = 12
UNET = {
    **small.NETWORKS["unet"],
    "latent_channels": LATENT_CHANNELS,
    "block_out_channels": (64, 96),
    "num_attention_heads": (4, 6),
    "cross_attention_dim": 128,
}
NETWORKS = {
    "unet": UNET,
    "vae": {**small.NETWORKS["vae"], "latent_channels": LATENT_CHANNELS, "scaling_factor": 1.0},
    "text_encoder": {
        "vocab_size": 2048,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 48,
    },
    "vision": {"image_size": 32, "patch_size": 8, "width": 128, "layers": 3, "heads": 4, "output_dim": 128},
    "resampler": {
        "dim": 128,
        "depth": 2,
        "dim_head": 32,
        "heads": 4,
        "num_queries": 8,
        "embedding_dim": 128,
        "output_dim": 128,
    },
}


def get_config() -> ConfigDict:
    config = small_vae.get_config()
    config.steps = 20_000
    # This denoiser leaves less to forgive than that of configs/small.py.
    config.kl_weight = 1e-3
    config.optimizer.name = "muon"
    config.start.networks = NETWORKS
    return config
