"""MagDiff's objective: frozen encoders, then the loss of the U-Net and the resampler.

Everything random about an example follows from the run's seed and the example's position in the stream, never from the
batch, the device or the process that it is in.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8, UInt32

from magdiff_jax.conditioning import draw_latents, to_pixels
from magdiff_jax.cutout import BLACK
from magdiff_jax.data.loader import Batch
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.schedule import ScheduleConfig, add_noise, alphas_cumprod, velocity
from magdiff_jax.models import Condition, Network, Params
from magdiff_jax.models.unet import Placement
from magdiff_jax.sharding.leaves import Leaves, to_params
from magdiff_jax.training.config import TrainConfig

Keys = Key[Array, " batch"]
Pixels = UInt8[Array, "*batch height width 3"]
# The subject's share of each latent, see `data.loader.Batch`.
Coverage = Float[Array, "batch _frame _row _column"]
Losses = Float[Array, " batch"]

# Streams of an example's randomness; HFA's levels take those from SUBJECTS on.
TIMESTEP, NOISE, LATENTS, DROPOUT, SUBJECTS = range(5)


class Inputs(NamedTuple):
    """The arrays of a `Batch`, with positions in two halves of 32 bits, as JAX has no others.

    `unprompted`: whose prompt is empty, as it is where it was dropped.
    """

    frames: UInt8[Array, "batch frame height width 3"]
    subjects: tuple[UInt8[Array, "batch shown _height _width 3"], ...]
    image_prompts: UInt8[Array, "batch shown crop crop 3"]
    coverage: Coverage
    tokens: Int[Array, "batch token"]
    unprompted: Bool[Array, " batch"]
    positions: UInt32[Array, "batch 2"]


class Posterior(NamedTuple):
    """What the VAE's encoder says of images: mean and log-variance of their latents."""

    mean: Float[Array, "*batch height width channel"]
    log_variance: Float[Array, "*batch height width channel"]


class Encoded(NamedTuple):
    """What the frozen encoders make of a batch; `shown` is the number of frames with a subject in them.

    Attributes:
        clips: posterior of the frames' latents, [batch, frame, height, width, channel].
        subjects: of the subject's, for each level of HFA's pyramid, [batch, shown, …].
        vision: the vision tower's tokens of the image prompts; of shape [batch, 0, 0, 0] without APA.
        coverage: see `Batch`.
        text: the prompts' tokens.
        unprompted: see `Inputs`; for these `Constants.no_text` is taken, whatever stands in `text`.
        positions: of the examples, see `Inputs`.
    """

    clips: Posterior
    subjects: tuple[Posterior, ...]
    vision: Float[Array, "batch shown token width"]
    coverage: Coverage
    text: Float[Array, "batch token channel"]
    unprompted: Bool[Array, " batch"]
    positions: UInt32[Array, "batch 2"]


class Constants(NamedTuple):
    """What the frozen encoders make of what is always the same.

    Attributes:
        black: posterior of a black frame for each level of the pyramid, [1, height, width, channel].
        black_vision: the vision tower's tokens of a black image, [1, token, width]; [1, 0, 0] without APA.
        no_text: tokens of the empty prompt, [1, token, channel].
    """

    black: tuple[Posterior, ...]
    black_vision: Float[Array, "1 token width"]
    no_text: Float[Array, "1 token channel"]


def to_inputs(batch: Batch) -> Inputs:
    """A batch of the loader's, for the device: NumPy arrays yet."""
    unprompted = np.array([not prompt for prompt in batch.prompts])
    images = batch.frames, batch.subjects, batch.image_prompts
    arrays: Any = *images, batch.coverage, batch.tokens, unprompted, halves(batch.positions)
    return Inputs(*arrays)


def halves(positions: Int[np.ndarray, "*batch"]) -> UInt32[np.ndarray, "*batch 2"]:
    """The upper and the lower 32 bits."""
    return np.stack([positions >> 32, positions & 0xFFFFFFFF], axis=-1).astype(np.uint32)


def example_keys(seed: UInt32[Array, "2"], positions: UInt32[Array, "batch 2"]) -> Keys:
    """One key for each example, from the raw key of the run."""
    base = jax.random.wrap_key_data(seed)
    return jax.vmap(lambda half: jax.random.fold_in(jax.random.fold_in(base, half[0]), half[1]))(positions)


class Diffusion:
    """See the module. Its methods are pure functions of the flat dicts of parameters that they are given.

    Attributes:
        trained: the components whose parameters may be trainable.
    """

    trained = ("unet", "resampler")

    def __init__(self, config: TrainConfig, networks: Mapping[str, Network], placement: Placement):
        self.networks = networks
        self._placement = placement
        self.unet: Any = networks["unet"].config
        self.vae: Any = networks["vae"].config
        self._schedule: ScheduleConfig = config.schedule
        self._min_snr_gamma = config.min_snr_gamma
        self._timestep_shift = config.timestep_shift
        self._subject_weight = config.subject_weight
        self._remat = config.remat

    def encode(self, frozen: Leaves, inputs: Inputs) -> Encoded:
        """Run the frozen encoders."""
        vision = jnp.zeros((len(inputs.tokens), 0, 0, 0))
        if self.unet.apa:
            vision = self._per_image(inputs.image_prompts, lambda images: (self._see(frozen, images),))[0]
        return Encoded(
            Posterior(*self._per_image(inputs.frames, lambda images: self._encode_images(frozen, images))),
            tuple(
                Posterior(*self._per_image(level, lambda images: self._encode_images(frozen, images)))
                for level in inputs.subjects
            ),
            vision,
            inputs.coverage,
            self._read(frozen, inputs.tokens),
            inputs.unprompted,
            inputs.positions,
        )

    def constants(self, frozen: Leaves, sizes: tuple[tuple[int, int], ...], crop: int, no_tokens: Array) -> Constants:
        """What `encode` would make of black frames and of the empty prompt.

        Args:
            sizes: height and width in pixels of each level of the pyramid.
            crop: side of an image prompt in pixels.
            no_tokens: ids of the empty prompt, [1, token].
        """

        def black(height: int, width: int) -> Array:
            return jnp.full((1, height, width, 3), BLACK, jnp.uint8)

        levels = tuple(Posterior(*self._encode_images(frozen, black(*size))) for size in sizes)
        vision = self._see(frozen, black(crop, crop)) if self.unet.apa else jnp.zeros((1, 0, 0))
        return Constants(levels, vision, self._read(frozen, no_tokens))

    def condition(
        self,
        params: Leaves,
        encoded: Encoded,
        constants: Constants,
        keys: Keys,
        text: Float[Array, "batch token channel"],
    ) -> Condition:
        """What the U-Net is conditioned on: the subject's frames, and black ones for those that lack.

        Args:
            params: all parameters of the U-Net and the resampler.
            text: the prompts' tokens, those of `encoded` or others.
        """
        frames = encoded.clips.mean.shape[1]
        image = None
        if self.unet.apa:
            image = self._image_tokens(params, encoded.vision, constants.black_vision, frames)
        subject = tuple(
            self._subject_latents(*pair, keys, level, frames)
            for level, pair in enumerate(zip(encoded.subjects, constants.black, strict=True))
        )
        return self.networks["unet"].apply(
            to_params("unet", params), text, image, subject, method="condition", placement=self._placement
        )

    def losses(
        self, params: Leaves, encoded: Encoded, constants: Constants, seed: UInt32[Array, "2"], training: bool
    ) -> tuple[Losses, dict[str, Array]]:
        """Each example's loss: mean squared error of the prediction (Ho et al. 2020, eq. 14; supplement, section B).

        Args:
            params: all parameters of the U-Net and the resampler.
            encoded: the batch.
            seed: raw key of the run.
            training: with dropout, timesteps shifted, and the subject weighted.

        Returns:
            The weighted losses, and sums and counts of the unweighted ones by quarter of the timesteps.
        """
        keys = example_keys(seed, encoded.positions)
        clean = self._draw(encoded.clips, keys, LATENTS)
        total = self._schedule.num_train_timesteps
        even = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, TIMESTEP)))(keys)
        timesteps = (shift(even, self._timestep_shift if training else 1.0) * total).astype(jnp.int32)
        alpha = jnp.asarray(alphas_cumprod(self._schedule), jnp.float32)[timesteps]
        drawn = noise.normal(keys, NOISE, clean.shape[1:])
        text = jnp.where(encoded.unprompted[:, None, None], constants.no_text, encoded.text)
        condition = self.condition(params, encoded, constants, keys, text)
        prediction = self.networks["unet"].apply(
            to_params("unet", params),
            add_noise(clean, drawn, alpha),
            timesteps,
            condition,
            remat=self._remat and training,
            placement=self._placement,
            dropout_keys=jax.vmap(lambda key: jax.random.fold_in(key, DROPOUT))(keys) if training else None,
        )
        target = drawn if self._schedule.prediction_type == "epsilon" else velocity(clean, drawn, alpha)
        squared = jnp.square(prediction.astype(jnp.float32) - target)
        errors = squared.mean(axis=range(1, clean.ndim))
        quarters = jax.nn.one_hot(timesteps * 4 // total, 4)
        metrics = {"quarter_sums": errors @ quarters, "quarter_counts": quarters.sum(axis=0)}
        if training and self._subject_weight != 1:
            weights = subject_weights(encoded.coverage, self._subject_weight)
            errors = (squared * weights[..., None]).mean(axis=range(1, clean.ndim))
        return errors * min_snr_weight(alpha, self._min_snr_gamma, self._schedule.prediction_type), metrics

    def _draw(self, posterior: Posterior, keys: Keys, stream: int) -> Array:
        drawn = noise.normal(keys, stream, posterior.mean.shape[1:])
        return draw_latents(*posterior, drawn, self.vae.scaling_factor)

    def _subject_latents(self, given: Posterior, black: Posterior, keys: Keys, level: int, frames: int) -> Array:
        whole = Posterior(*(_filled(some, one, frames) for some, one in zip(given, black, strict=True)))
        return self._draw(whole, keys, SUBJECTS + level)

    def _image_tokens(self, params: Leaves, given: Array, black: Array, frames: int) -> Array:
        """The resampler's tokens of all frames, [batch, frame · query, channel]."""
        resampler = self._whole("resampler", params)

        def resample(vision: Array) -> tuple[Array]:
            return (self.networks["resampler"].apply(resampler, vision),)

        (shown,) = self._per_image(given, resample)
        tokens = _filled(shown, *resample(black), frames)
        return tokens.reshape(len(tokens), -1, tokens.shape[-1])

    def _encode_images(self, frozen: Leaves, images: Pixels) -> tuple[Array, Array]:
        return self.networks["vae"].apply(self._whole("vae", frozen), to_pixels(images), method="encode")

    def _see(self, frozen: Leaves, images: Pixels) -> Array:
        network, params = self.networks["vision"], self._whole("vision", frozen)
        return network.apply(params, network.apply(params, to_pixels(images), method="preprocess"))

    def _read(self, frozen: Leaves, tokens: Int[Array, "batch token"]) -> Array:
        return self.networks["text_encoder"].apply(self._whole("text_encoder", frozen), tokens)

    def _whole(self, component: str, leaves: Leaves) -> Params:
        return self._placement.parameters(to_params(component, leaves))

    @staticmethod
    def _per_image(images: Array, function: Callable[[Array], tuple[Array, ...]]) -> list[Array]:
        """Apply to [batch · frame, …] what is [batch, frame, …]; [batch, 0, …] has nothing to apply it to."""
        batch, frames = images.shape[:2]
        results = function(images.reshape(batch * frames, *images.shape[2:]))
        return [result.reshape(batch, frames, *result.shape[1:]) for result in results]


def shift(times: Float[Array, " batch"], factor: float) -> Float[Array, " batch"]:
    """Times of [0, 1) moved towards 1 by a factor above 1 (Esser et al. 2024, eq. 23); below 1 they stay."""
    return jnp.minimum(factor * times / (1 + (factor - 1) * times), 1 - 2**-24)


def subject_weights(coverage: Coverage, weight: float) -> Coverage:
    """Weights of a clip's squared errors, `weight` in the subject for 1 outside, of mean 1."""
    weights = 1 + (weight - 1) * coverage
    return weights / weights.mean(axis=(1, 2, 3), keepdims=True)


def min_snr_weight(alpha: Float[Array, " batch"], gamma: float, prediction_type: str) -> Losses:
    """Min-SNR-γ weights of the loss (Hang et al. 2023, section 3.4); γ = 0: all one.

    min(SNR, γ) / SNR where the noise is predicted, min(SNR, γ) / (SNR + 1) for the velocity; SNR = ᾱ / (1 - ᾱ).
    """
    if not gamma:
        return jnp.ones_like(alpha)
    ratio = alpha / (1 - alpha)
    if prediction_type == "epsilon":
        return jnp.minimum(1.0, gamma / jnp.maximum(ratio, 1e-12))
    return jnp.minimum(ratio, gamma) / (ratio + 1)


def _filled(given: Array, black: Array, frames: int) -> Array:
    """[batch, shown, …] and, for the frames that lack, [1, …] again and again."""
    batch, shown = given.shape[:2]
    rest = jnp.broadcast_to(black[:, None], (batch, frames - shown, *black.shape[1:]))
    return jnp.concatenate([given, rest.astype(given.dtype)], axis=1)
