"""MagDiff: a loaded model that generates and edits clips."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8
from tqdm import tqdm

from magdiff_jax.conditioning import BLACK, CLIP_CROP, cut_out, level_sizes
from magdiff_jax.config import ConfigError
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.ddim import Steps, ddim_step, make_steps
from magdiff_jax.diffusion.sampling import fresh_scale, guide, sample_clips
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.diffusion.settings import Settings
from magdiff_jax.errors import UserError
from magdiff_jax.media.masks import whole_frame_if_empty
from magdiff_jax.models import COMPONENTS, Component, Condition, Network, Params
from magdiff_jax.replacing import check_replaceable, replacing
from magdiff_jax.tokenizer import Tokenizer
from magdiff_jax.weights import directory

# NumPy's or JAX's arrays.
AnyArray = np.ndarray | Array
Image = UInt8[AnyArray, "_height _width 3"]
Mask = Bool[AnyArray, "_height _width"]
Video = UInt8[AnyArray, "_frame _height _width 3"]
Masks = Bool[AnyArray, "_frame _height _width"]
Tokens = Float[AnyArray, "_batch _token _channel"]
Latents = Float[AnyArray, "_batch _frame _height _width _channel"]
Keys = Key[Array, " batch"]
# Called with (clip, step, latents) after every step.
OnStep = Callable[[int, int, Latents], None]

# Streams of a seed's noise; the steps' own count from 0.
_START, _SUBJECT = 1_000_000, 2_000_000


class Shape(NamedTuple):
    """Size of a clip: frames, and pixels each way."""

    frames: int
    height: int
    width: int


class Subject(NamedTuple):
    """What clips take from their subjects.

    Attributes:
        image_tokens: APA's prompt tokens of all frames, [batch, frame · query, channel]; None without APA.
        latents: HFA's scaled VAE latents, one array for each pyramid level; empty without HFA.
    """

    image_tokens: Tokens | None
    latents: tuple[Latents, ...]


class MagDiff:
    """Subject-driven generation and editing with one model.

    >>> pipe = MagDiff.load("models/magdiff")
    >>> video = pipe.generate("a cat on the beach", subject=image, mask=mask, seed=7)
    >>> edited = pipe.edit("a cat in the snow", video=frames, masks=masks, steps=25)

    Attributes:
        config: frames, resolution and switches of the model.
        schedule: noise schedule and sampling.
        unet, vae, text_encoder, vision, resampler: its networks, callable; the last two are None in a model without
            APA and in one converted without a vision tower.
        tokenizer: prompts → ids.
        fingerprint: SHA-256 that names these very weights.
    """

    def __init__(
        self,
        config: directory.ModelConfig,
        schedule: ScheduleConfig,
        components: Mapping[str, Component],
        tokenizer: Tokenizer,
        fingerprint: str,
    ):
        self.config = config
        self.schedule = schedule
        self.unet = components["unet"]
        self.vae = components["vae"]
        self.text_encoder = components["text_encoder"]
        self.vision = components.get("vision")
        self.resampler = components.get("resampler")
        self.tokenizer = tokenizer
        self.fingerprint = fingerprint
        self._condition = jax.jit(partial(self.unet.network.apply, method="condition"))
        self._step = jax.jit(partial(_guided_step, self.unet.network, schedule.prediction_type))

    @classmethod
    def load(cls, folder: str | Path, dtype: str = "float32") -> "MagDiff":
        """Load a model's folder.

        Args:
            folder: made by `tools/convert_torch_weights.py` or `save`.
            dtype: of parameters and computation: float32, bfloat16 or float16; norms, softmax and the sampler's own
                arithmetic stay in float32.

        Raises:
            UserError: the folder is no model, or damaged.
        """
        folder = Path(folder)
        description = directory.read_description(folder)
        components = {}
        for name, config in description.networks.items():
            network = Network(COMPONENTS[name][0], config, dtype)
            stored = directory.read_component(folder, name, network.shapes, description.fingerprints[name])
            components[name] = Component(network, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), stored))
        tokenizer = Tokenizer(folder / "tokenizer", components["text_encoder"].config.max_position_embeddings)
        return cls(description.model, description.schedule, components, tokenizer, description.fingerprint)

    def save(self, folder: str | Path) -> None:
        """Write the model, in the type its parameters have, as a folder that `load` reads; replaces an older one."""
        check_replaceable(Path(folder), directory.MARK)
        with replacing(Path(folder)) as new:
            new.mkdir()
            self.tokenizer.save(new / "tokenizer")
            fingerprints = {
                name: directory.write_component(new, name, component.config, jax.tree.map(np.asarray, component.params))
                for name in COMPONENTS
                if (component := getattr(self, name)) is not None
            }
            directory.write_description(new, self.config, self.schedule, fingerprints)

    def generate(
        self,
        prompt: str | Sequence[str],
        subject: Image | Sequence[Image],
        mask: Mask | Sequence[Mask | None] | None = None,
        *,
        negative_prompt: str = "",
        seed: int = 0,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        latents: Latents | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> UInt8[np.ndarray, "*batch frame height width 3"]:
        """Make a video of a subject.

        Args:
            prompt: what the video shows; a list makes a batch, with as many subjects and masks, or one for all.
            subject: RGB picture, 0 … 255, of any size.
            mask: True where the subject is, of the picture's size; None or empty: the whole picture.
            negative_prompt: what the video should not show.
            seed: of the first video of a batch; the others have the following ones. A seed's video does not depend
                on the batch that it is in.
            frames, height, width: of a clip; default: what the model was trained on.
            latents: starting noise of the first clip, [batch, frame, height / 8, width / 8, 4], instead of the
                seed's (8 being the VAE's factor).
            on_step: called with (clip, step, latents) after every step.
            progress: show a progress bar.
            **settings: fields of `Settings`: steps, guidance_scale, eta, noise_correlation, num_clips, …

        Returns:
            RGB frames, 0 … 255, `num_clips` clips in a row; with a leading batch axis where `prompt` is a list.

        Raises:
            ConfigError: an impossible setting.
            UserError: a mask or size that does not fit.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        subjects = [subject] * len(prompts) if hasattr(subject, "shape") else list(subject)
        masks = [mask] * len(prompts) if mask is None or hasattr(mask, "shape") else list(mask)
        if not len(prompts) == len(subjects) == len(masks):
            raise ValueError(f"{len(prompts)} prompts, {len(subjects)} subjects and {len(masks)} masks")
        clips = [
            (np.asarray(picture)[None], None if single is None else np.asarray(single)[None])
            for picture, single in zip(subjects, masks, strict=True)
        ]
        shape = self._shape(frames or self.config.frames, height, width)
        videos = self._run(prompts, clips, shape, negative_prompt, seed, latents, settings, on_step, progress)
        return videos[0] if isinstance(prompt, str) else videos

    def edit(
        self,
        prompt: str,
        video: Video,
        masks: Masks | None = None,
        *,
        negative_prompt: str = "",
        seed: int = 0,
        height: int | None = None,
        width: int | None = None,
        latents: Latents | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> UInt8[np.ndarray, "frame height width 3"]:
        """Keep a video's subject and make everything else anew.

        Args:
            video: RGB frames, 0 … 255; as many come out.
            masks: True where the subject is, for each frame; None: the whole frames.

        The other arguments are those of `generate`; an edited video is one clip.
        """
        if settings.get("num_clips", 1) != 1:
            raise ConfigError("num_clips: an edited video is one clip, as long as its source")
        clips = [(np.asarray(video), None if masks is None else np.asarray(masks))]
        shape = self._shape(len(video), height, width)
        return self._run([prompt], clips, shape, negative_prompt, seed, latents, settings, on_step, progress)[0]

    def _run(
        self,
        prompts: Sequence[str],
        subjects: Sequence[tuple[Video, Masks | None]],
        shape: Shape,
        negative_prompt: str,
        seed: int,
        latents: Latents | None,
        settings: Mapping[str, Any],
        on_step: OnStep | None,
        progress: bool,
    ) -> UInt8[np.ndarray, "batch frame height width 3"]:
        checked = Settings.from_dict(settings)
        keys = noise.seed_keys([seed + index for index in range(len(prompts))])
        clips = self.sample(
            self.encode_prompts(prompts),
            self.encode_prompts([negative_prompt] * len(prompts)),
            self.encode_subjects(subjects, shape, keys),
            self.start_latents(shape, keys, checked) if latents is None else latents,
            keys,
            checked,
            on_step=on_step,
            progress=progress,
        )
        return np.concatenate([self.decode(clip) for clip in clips], axis=1)

    def _shape(self, frames: int, height: int | None, width: int | None) -> Shape:
        shape = Shape(frames, height or self.config.resolution, width or self.config.resolution)
        factor = self.vae.config.downscale
        if shape.height % factor or shape.width % factor:
            raise UserError(f"height {shape.height}, width {shape.width}: must be multiples of {factor}")
        return shape

    def encode_prompts(self, prompts: Sequence[str]) -> Tokens:
        """Text tokens, [prompt, token, channel]. A prompt that is too long is cut with a warning."""
        return self.text_encoder(self.tokenizer(prompts))

    def encode_subjects(self, subjects: Sequence[tuple[Video, Masks | None]], shape: Shape, keys: Keys) -> Subject:
        """Encode subjects for APA and HFA.

        Args:
            subjects: for each clip its frames and their masks (None: the whole frames): one frame to generate, the
                others being black, or all of them to edit. The same number for all clips.
            shape: of the clips.
            keys: one for each clip; the subject latents are drawn from the VAE's posterior, as in the released code.

        Raises:
            UserError: a mask is not of its frame's size, or the model lacks a vision tower.
        """
        cut = [(frames, _checked(frames, masks) if self.config.sda else None) for frames, masks in subjects]
        missing = shape.frames - len(cut[0][0])

        def pixels(height: int, width: int) -> Float[np.ndarray, "batch frame height width 3"]:
            """The cut-outs of all clips, and one black frame that stands for all that are missing."""
            black = np.full((min(missing, 1), height, width, 3), BLACK, np.float32)
            return np.stack([np.concatenate([cut_out(*clip, height, width), black]) for clip in cut])

        def all_frames(encoded: Float[Array, "some *rest"]) -> Float[Array, "batch frame *rest"]:
            """[clip · frame, …] → [clip, frame, …] with the black frame repeated."""
            by_clip = encoded.reshape(len(cut), -1, *encoded.shape[1:])
            return jnp.concatenate([by_clip, by_clip[:, -1:].repeat(max(missing - 1, 0), axis=1)], axis=1)

        image_tokens = None
        if self.unet.config.apa:
            batch = pixels(CLIP_CROP, CLIP_CROP)
            tokens = all_frames(self.encode_images(batch.reshape(-1, *batch.shape[2:])))
            image_tokens = tokens.reshape(len(cut), -1, tokens.shape[-1])
        latents = []
        for index, size in enumerate(level_sizes(self.unet.config.hfa_levels, *shape[1:], self.vae.config.downscale)):
            batch = pixels(*size)
            mean, log_variance = map(all_frames, self.vae(batch.reshape(-1, *batch.shape[2:]), method="encode"))
            drawn = noise.normal(keys, _SUBJECT + index, mean.shape[1:])
            latents.append((mean + jnp.exp(log_variance / 2) * drawn) * self.vae.config.scaling_factor)
        return Subject(image_tokens, tuple(latents))

    def encode_images(self, images: Float[np.ndarray, "image height width 3"]) -> Float[Array, "image query channel"]:
        if self.vision is None or self.resampler is None:
            raise UserError("this model has no vision tower for APA; convert it again with --vision FILE")
        return self.resampler(self.vision(self.vision(images, method="preprocess")))

    def start_latents(self, shape: Shape, keys: Keys, settings: Settings) -> Latents:
        """The keys' starting noise for clips of `shape`."""
        factor, channels = self.vae.config.downscale, self.unet.config.latent_channels
        size = (shape.frames, shape.height // factor, shape.width // factor, channels)
        return noise.progressive(noise.normal(keys, _START, size), settings.noise_correlation)

    def sample(
        self,
        text: Tokens,
        negative_text: Tokens,
        subject: Subject,
        latents: Latents,
        keys: Keys,
        settings: Settings,
        *,
        fresh: Sequence[Latents] | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
    ) -> list[Latents]:
        """Denoise clips from explicit embeddings, subject latents and noise.

        Args:
            text, negative_text: prompt tokens, from `encode_prompts`.
            subject: from `encode_subjects`. The unconditional branch keeps it (released code).
            latents: starting noise of the first clip.
            keys: one for each clip of the batch, for η's noise and that of further clips.
            settings: how to sample.
            fresh: fresh noise of the further clips, of standard deviation `fresh_scale(settings)`, instead
                of the keys'.
            on_step, progress: as in `generate`.

        Returns:
            The denoised latents of each of the `num_clips` clips.
        """
        both = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), subject)
        condition = self._condition(self.unet.params, jnp.concatenate([negative_text, text]), *both)
        if fresh is None:
            fresh = [
                fresh_scale(settings)
                * noise.progressive(noise.normal(keys, _START + clip, latents.shape[1:]), settings.noise_correlation)
                for clip in range(1, settings.num_clips)
            ]
        steps = make_steps(self.schedule, settings.steps, settings.eta)

        def step_function(latents: Latents, step: Steps, index: int) -> Latents:
            return self._step(self.unet.params, condition, latents, step, settings.guidance_scale, keys, index)

        run = sample_clips(step_function, jnp.asarray(latents), fresh, steps, settings)
        total = settings.steps * (1 + len(fresh))
        results: list[Latents] = []
        previous = jnp.zeros(())
        for index, current in enumerate(tqdm(run, total=total, desc="sampling", unit="step", disable=not progress)):
            clip, step = divmod(index, settings.steps)
            if on_step is not None:
                on_step(clip, step, current)
            if step == settings.steps - 1:
                results.append(current)
            # One step behind: the bar tells the truth, and the device always has its next step waiting.
            jax.block_until_ready(previous)
            previous = current
        return results

    def decode(self, latents: Latents) -> UInt8[np.ndarray, "batch frame height width 3"]:
        """Latents of clips → RGB frames, 0 … 255."""
        pixels = self.vae(latents / self.vae.config.scaling_factor, method="decode").astype(jnp.float32)
        return np.asarray(jnp.round((jnp.clip(pixels, -1, 1) + 1) * 127.5).astype(jnp.uint8))


def _guided_step(
    unet: Network,
    prediction_type: str,
    params: Params,
    condition: Condition,
    latents: Latents,
    step: Steps,
    guidance_scale: float | Float[Array, ""],
    keys: Keys,
    index: int | Array,
) -> Latents:
    """One DDIM step with both guidance branches in one batch; the network predicts, float32 does the rest."""
    timesteps = jnp.full(2 * latents.shape[0], step.timestep)
    prediction = unet.apply(params, jnp.concatenate([latents, latents]), timesteps, condition)
    guided = guide(*jnp.split(prediction.astype(jnp.float32), 2), guidance_scale)
    drawn = noise.normal(keys, index, latents.shape[1:])
    return ddim_step(latents, guided, step, drawn, prediction_type)


def _checked(frames: Video, masks: Masks | None) -> Masks | None:
    if masks is None:
        return None
    if masks.shape != frames.shape[:-1]:
        raise UserError(
            f"the masks are {masks.shape} (frames, height, width), their pictures {frames.shape[:-1]}: they must agree"
        )
    return whole_frame_if_empty(np.asarray(masks))
