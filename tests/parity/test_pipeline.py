"""Whole sampling runs against recordings of the authors' pipeline: largest difference 1e-3 in float32."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax import MagDiff, Settings
from magdiff_jax.diffusion.noise import seed_keys
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.pipeline import Subject
from magdiff_jax.tokenizer import Tokenizer
from magdiff_jax.weights.directory import ModelConfig
from tests.parity.recordings import Recording, assert_close, channels_last, recordings

TOLERANCE = 1e-3


@pytest.mark.quick
@pytest.mark.parametrize("path", recordings("in/latents", "in/entity_image", "out/step_latents"))
def test_sampling_run(path: Path, tokenizer: Tokenizer) -> None:
    recording = Recording(path)
    inputs, outputs, config = recording.inputs, recording.outputs, recording.config
    components = {}
    for name in ("unet", "vae", "vision", "resampler"):
        part = recording.beside(config[name])
        if part is None:
            pytest.skip(f"{config[name]} is absent")
        components[name] = part.component
    # The text tower has no part in the recording, which starts from its tokens.
    components["text_encoder"] = components["vae"]
    pipe = MagDiff(ModelConfig(), ScheduleConfig(), components, tokenizer, "")

    latents = channels_last(inputs["latents"])
    frames = latents.shape[1]
    crops = inputs["clip_image"].astype(np.float32)
    black = np.full((crops.shape[0], frames - crops.shape[1], *crops.shape[2:]), -1, np.float32)
    crops = np.concatenate([crops, black], axis=1)
    tokens = pipe.encode_images(channels_last(crops.reshape(-1, *crops.shape[2:])))
    entity_latents = channels_last(outputs["entity_latents"])
    subject = Subject(tokens.reshape(crops.shape[0], -1, tokens.shape[-1]), (jnp.asarray(entity_latents),))
    settings = Settings(
        steps=config["steps"],
        guidance_scale=config["guidance_scale"],
        num_clips=config["num_generated_clips"],
        overlap_frames=config["extend_overlap_frames"],
        noise_recycle=config["extend_noise_recycle"],
        denoise_guidance=config["extend_denoise_guidance"],
    )
    after_steps = []
    clips = pipe.sample(
        jnp.asarray(inputs["text"]),
        jnp.asarray(inputs["negative_text"]),
        subject,
        jnp.asarray(latents),
        seed_keys([0] * latents.shape[0]),
        settings,
        fresh=[jnp.asarray(channels_last(noise)) for noise in inputs.get("extend_noise", ())],
        on_step=lambda clip, step, current: after_steps.append(np.moveaxis(current, -1, 1)),
        progress=False,
    )
    assert_close(np.stack(after_steps), outputs["step_latents"], TOLERANCE)
    video = np.concatenate([pipe.decode(clip) for clip in clips], axis=1)
    # Recorded in [0, 1]; ours is rounded to 8 bits.
    assert_close(np.moveaxis(video, -1, 1) / 255, outputs["video"], 0.5 / 255 + TOLERANCE)


@pytest.mark.parametrize("path", recordings("in/entity_image", "out/entity_latents"))
def test_subject_latents_come_from_the_posterior(path: Path) -> None:
    """The released code draws the subject's latents, so only their distribution can be compared."""
    recording = Recording(path)
    vae = recording.beside(recording.config["vae"])
    if vae is None:
        pytest.skip(f"{recording.config['vae']} is absent")
    images = recording.inputs["entity_image"]
    mean, log_variance = vae.component(channels_last(images.reshape(-1, *images.shape[2:])), method="encode")
    drawn = channels_last(recording.outputs["entity_latents"]).reshape(mean.shape) / vae.component.config.scaling_factor
    standardised = (drawn - mean) / jnp.exp(log_variance / 2)
    assert jnp.abs(standardised).max() < 5
    assert abs(float(standardised.std()) - 1) < 0.2
    assert abs(float(standardised.mean())) < 0.2
