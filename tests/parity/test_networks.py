"""Each network against recordings of PyTorch's: largest difference 1e-4 in float32."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.models import Params
from magdiff_jax.models.network import flatten
from magdiff_jax.weights.table import table
from tests.parity.recordings import TEXT_TOKENS, Recording, assert_close, channels_last, recordings

TOLERANCE = 1e-4
# Gradients that are zero in exact arithmetic, as of biases that a GroupNorm takes off again, are recorded as 1e-8; the
# whole gradient's norm is 2.4.
ROUNDING = 1e-7


def predict(recording: Recording, params: Params, name: str, **options: Any) -> jax.Array:
    """The U-Net's prediction for a recorded sample, channels first as recorded."""
    network = recording.component.network
    sample, context = channels_last(recording.inputs[name]), recording.inputs["context"]
    text, image = context[:, :TEXT_TOKENS], context[:, TEXT_TOKENS:] if recording.apa else None
    latents = network.config.latent_channels
    noise, subject = (sample[..., :latents], (sample[..., latents:],)) if recording.hfa else (sample, ())
    condition = network.apply(params, text, image, subject, method="condition")
    timesteps = jnp.asarray(recording.inputs["timestep"], jnp.int32)
    prediction = network.apply(params, noise, timesteps, condition, **options)
    return jnp.moveaxis(prediction, -1, 1)


@pytest.mark.parametrize("name", ["sample", "sample_1frame"])
@pytest.mark.parametrize("path", recordings("in/sample", "out/sample", "state/conv_in.weight"))
def test_unet(path: Path, name: str) -> None:
    recording = Recording(path)
    if name not in recording.outputs:
        pytest.skip(f"{path.stem} has no {name}")
    prediction = jax.jit(partial(predict, recording, name=name))(recording.component.params)
    assert_close(prediction, recording.outputs[name], TOLERANCE)


@pytest.mark.parametrize("path", recordings("in/target", "out/loss"))
def test_unet_gradients(path: Path) -> None:
    """Each parameter's, relative to its norm; with layers computed again in the backward pass they are the same."""
    recording = Recording(path)
    unet = recording.beside(recording.config["unet"])
    if unet is None:
        pytest.skip(f"{recording.config['unet']} is absent")

    def gradients(remat: bool) -> dict[str, np.ndarray]:
        def loss(params: Params) -> jax.Array:
            return jnp.mean((predict(unet, params, "sample", remat=remat) - recording.inputs["target"]) ** 2)

        value, gradient = jax.jit(jax.value_and_grad(loss))(unet.component.params)
        assert_close(value, recording.outputs["loss"], TOLERANCE)
        leaves = dict(flatten(gradient))
        entries = table(unet.component.network)
        return {entry.name: entry.layout.to_torch(np.asarray(leaves[entry.path])) for entry in entries}

    ours, again = gradients(remat=False), gradients(remat=True)
    recorded_norms = {n.removeprefix("grad_norm/") for n in recording.outputs if n.startswith("grad_norm/")}
    assert recorded_norms == set(ours)
    for name, array in ours.items():
        norm = recording.outputs[f"grad_norm/{name}"].item()
        allowed = max(TOLERANCE * norm, ROUNDING)
        assert abs(np.linalg.norm(array) - norm) <= allowed, name
        assert np.linalg.norm(array - again[name]) <= allowed, name
        if f"grad/{name}" in recording.outputs:
            assert np.linalg.norm(array - recording.outputs[f"grad/{name}"]) <= allowed, name


@pytest.mark.parametrize("path", recordings("in/image", "out/mean", "out/logvar"))
def test_vae_encoder(path: Path) -> None:
    recording = Recording(path)
    for image in (name for name in recording.inputs if name.startswith("image")):
        suffix = image.removeprefix("image")
        mean, log_variance = recording.component(channels_last(recording.inputs[image]), method="encode")
        assert_close(np.moveaxis(mean, -1, 1), recording.outputs[f"mean{suffix}"], TOLERANCE)
        assert_close(np.moveaxis(log_variance, -1, 1), recording.outputs[f"logvar{suffix}"], TOLERANCE)


@pytest.mark.parametrize("path", recordings("in/latent", "out/decoded"))
def test_vae_decoder(path: Path) -> None:
    recording = Recording(path)
    latents = channels_last(recording.inputs["latent"])
    frames = int(recording.inputs.get("num_frames", 1))
    decoded = np.asarray(recording.component(latents.reshape(-1, frames, *latents.shape[1:]), method="decode"))
    assert_close(np.moveaxis(decoded.reshape(-1, *decoded.shape[2:]), -1, 1), recording.outputs["decoded"], TOLERANCE)


@pytest.mark.quick
@pytest.mark.parametrize("path", recordings("in/ids", "out/last_hidden"))
def test_clip_text(path: Path) -> None:
    recording = Recording(path)
    assert_close(recording.component(recording.inputs["ids"]), recording.outputs["last_hidden"], TOLERANCE)


@pytest.mark.parametrize("path", recordings("in/image", "in/preprocessed", "out/tokens"))
def test_clip_vision(path: Path) -> None:
    recording = Recording(path)
    vision = recording.component
    preprocessed = vision(channels_last(recording.inputs["image"]), method="preprocess")
    assert_close(np.moveaxis(preprocessed, -1, 1), recording.inputs["preprocessed"], TOLERANCE)
    assert_close(vision(channels_last(recording.inputs["preprocessed"])), recording.outputs["tokens"], TOLERANCE)


@pytest.mark.quick
@pytest.mark.parametrize("path", recordings("in/features", "out/tokens"))
def test_resampler(path: Path) -> None:
    recording = Recording(path)
    assert_close(recording.component(recording.inputs["features"]), recording.outputs["tokens"], TOLERANCE)
