"""MagDiff: a loaded model that generates and edits clips."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from magdiff_jax import conditioning
from magdiff_jax.conditioning import AnyArray, Keys, Latents, Pixels, Shape, Subject, Tokens, check_clip
from magdiff_jax.config import COMPUTE_DTYPES, ConfigError
from magdiff_jax.cutout import BLACK, tell_loss
from magdiff_jax.denoiser import Denoiser, OnStep, require_shape, start_noise
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.ddim import make_steps
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.diffusion.settings import Settings, check_seeds
from magdiff_jax.errors import UserError
from magdiff_jax.long_edit import edit_long
from magdiff_jax.media.footage import Footage
from magdiff_jax.models import COMPONENTS, Component, Network, Params, UNetConfig, build
from magdiff_jax.replacing import check_replaceable, replacing
from magdiff_jax.sharding import leaves
from magdiff_jax.sharding.mesh import batch_shards, leaf_shardings, over_batch
from magdiff_jax.sharding.rules import SHARDING
from magdiff_jax.shipped import MINIATURE
from magdiff_jax.tokenizer import Tokenizer
from magdiff_jax.weights import directory

# What every frame but the subject's own is conditioned on.
NO_SUBJECT = np.full((1, 1, 3), BLACK, np.uint8)
_NO_VISION = "this model has no vision tower for APA; convert it again with --vision FILE"


def plan(
    description: directory.Description,
    settings: Settings,
    frames: int | None,
    height: int | None,
    width: int | None,
    with_subject: bool,
) -> Shape:
    """The size of clips, from what is asked for and, where that is None, the model's own.

    `with_subject`: whether a subject is given, or a video to edit.

    Raises, before any parameter is loaded, what `generate` and `edit` would:
        ConfigError: the schedule cannot be walked like that.
        UserError: the model cannot make such clips.
    """
    make_steps(description.schedule, settings.steps, settings.eta)
    unet: Any = description.networks["unet"]
    if with_subject:
        _check_takes_subjects(unet)
    if unet.apa and not {"vision", "resampler"} <= set(description.networks):
        raise UserError(_NO_VISION)
    vae: Any = description.networks["vae"]
    return _shape(description.model, vae.downscale, frames, height, width)


class MagDiff:
    """Subject-driven generation and editing with one model.

    >>> pipe = MagDiff.load("models/magdiff")
    >>> video = pipe.generate("a cat on the beach", subject=image, mask=mask, seed=7)
    >>> edited = pipe.edit("a cat in the snow", video=frames, masks=masks, steps=25)

    Pictures and videos are NumPy's or JAX's arrays in RGB, 0 … 255 in uint8; masks are boolean.

    Attributes:
        config: frames, resolution and switches of the model.
        schedule: noise schedule and sampling.
        unet, vae, text_encoder, vision, resampler: its networks, callable, with their parameters as `unet.params`, …;
            the last two are None in a model without APA and in one converted without a vision tower.
        sample: denoises clips from explicit embeddings, subject latents and noise; see `Denoiser`.
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
        self.sample = Denoiser(self.unet, schedule)

    @classmethod
    def load(cls, folder: str | Path = MINIATURE, dtype: str = "float32", mesh: Mesh | None = None) -> "MagDiff":
        """Load a model's folder.

        Args:
            folder: made by `tools/convert_torch_weights.py`, `export` or `save`; by default the miniature that comes
                along.
            dtype: of parameters and computation: float32, bfloat16 or float16; norms, softmax and the sampler's own
                arithmetic stay in float32.
            mesh: devices of this process (`sharding.mesh.make_mesh`). Batches are shared out among them and, along
                `fsdp` and `tensor`, the parameters; without it one device does all.

        Raises:
            UserError: the folder is no model, or damaged.
            ConfigError: another dtype.
        """
        if dtype not in COMPUTE_DTYPES:
            raise ConfigError(f"dtype = {dtype!r}: must be one of {COMPUTE_DTYPES}")
        folder = Path(folder)
        description = directory.read_description(folder)
        networks = {name: build(name, config, dtype) for name, config in description.networks.items()}
        if mesh is None:
            components = {
                name: Component(network, _read(folder, name, network, description.fingerprints[name]))
                for name, network in networks.items()
            }
        else:
            targets = _placed(networks, mesh)
            components = {
                name: Component(network, directory.read_sharded(folder, name, targets[name]), over_batch(mesh))
                for name, network in networks.items()
            }
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
        subject: AnyArray | Sequence[AnyArray | None] | None = None,
        mask: AnyArray | Sequence[AnyArray | None] | None = None,
        *,
        negative_prompt: str | Sequence[str] = "",
        seed: int | Sequence[int] = 0,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        latents: AnyArray | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> UInt8[np.ndarray, "*batch frame height width 3"]:
        """Make a video of a subject, or after a prompt alone.

        Args:
            prompt: what the video shows; a list makes a batch, with as many subjects and masks, or one for all.
            subject: RGB picture, [height, width, 3] in uint8, of any size; None, in a list too: no subject, as for a
                text-to-video model.
            mask: True where the subject is, [height, width] of the picture in bool; None or empty: the whole picture.
            negative_prompt: what the video should not show; a list in a batch, or one for all.
            seed: from 0 to 2**32 - 1; in a batch a list, or that of the first video, the others having the following
                ones. A seed's noise does not depend on the batch that it is in, its video only by rounding.
            frames, height, width: of a clip; default: what the model was trained on.
            latents: starting noise of the first clip, [batch, frame, height / 8, width / 8, 4], instead of the
                seed's (8 being the VAE's factor).
            on_step: called with (clip, step, latents) after every step.
            progress: show a progress bar.
            **settings: fields of `Settings`: steps, guidance_scale, eta, noise_correlation, num_clips, …

        Returns:
            RGB frames in uint8, `num_clips` clips in a row; with a leading batch axis where `prompt` is a list.

        Raises:
            ConfigError: an impossible setting.
            UserError: a picture, mask, size or array of latents that does not fit.
        """
        prompts, pictures = _batch(prompt, subject, mask)
        if any(picture is not None for picture, _ in pictures):
            _check_takes_subjects(self.unet.config)
        if any(picture is None and single is not None for picture, single in pictures):
            raise UserError("a mask without a subject: give both, or neither")
        clips = [
            (
                np.asarray(NO_SUBJECT if picture is None else picture)[None],
                None if single is None else np.asarray(single)[None],
            )
            for picture, single in pictures
        ]
        shape = _shape(self.config, self.vae.config.downscale, frames, height, width)
        videos = self._run(prompts, clips, shape, negative_prompt, seed, latents, settings, on_step, progress)
        return videos[0] if isinstance(prompt, str) else videos

    def edit(
        self,
        prompt: str | Sequence[str],
        video: AnyArray | Sequence[AnyArray],
        masks: AnyArray | Sequence[AnyArray | None] | None = None,
        *,
        negative_prompt: str | Sequence[str] = "",
        seed: int | Sequence[int] = 0,
        height: int | None = None,
        width: int | None = None,
        latents: AnyArray | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> UInt8[np.ndarray, "*batch frame height width 3"]:
        """Keep a video's subject and make everything else anew.

        Args:
            prompt: what the new video shows; a list makes a batch, with as many videos and masks, or one for all.
            video: RGB frames, [frame, height, width, 3] in uint8; as many come out. Those of a batch have as many each.
            masks: True where the subject is, [frame, height, width] of the video in bool; None or, for a frame, empty:
                the whole frame.

        The other arguments are those of `generate`; an edited video is one clip.
        """
        _check_takes_subjects(self.unet.config)
        if settings.get("num_clips", 1) != 1:
            raise ConfigError("num_clips: an edited video is one clip, as long as its source")
        prompts, clips = _batch(prompt, video, masks)
        shape = _shape(self.config, self.vae.config.downscale, len(clips[0][0]), height, width)
        videos = self._run(prompts, clips, shape, negative_prompt, seed, latents, settings, on_step, progress)
        return videos[0] if isinstance(prompt, str) else videos

    def edit_long(
        self,
        prompt: str,
        footage: Footage,
        *,
        negative_prompt: str = "",
        seed: int = 0,
        overlap: int | None = None,
        height: int | None = None,
        width: int | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> Iterator[UInt8[np.ndarray, "frame height width 3"]]:
        """Edit a video of any length; memory hardly grows with it.

        Windows of the model's frames lie along the video, each with its own frames' subjects, and are blended where
        they overlap at every step; see `diffusion.windows`.

        Args:
            prompt: what the new video shows.
            footage: the video and its subject.
            overlap: frames of a window that lie in the next one too; default: half of them.

        The other arguments are those of `edit`.

        Yields:
            RGB frames in uint8, some at a time.

        Raises:
            ConfigError: an impossible setting.
            UserError: a size or overlap that does not fit.
        """
        _check_takes_subjects(self.unet.config)
        if footage.length < 1:
            raise UserError("a video with no frames")
        window = min(self.config.frames, footage.length)
        overlap = window // 2 if overlap is None else overlap
        if not 0 <= overlap < window:
            raise UserError(f"overlap {overlap}: must be from 0 to {window - 1}, fewer than the frames of a window")
        shape = _shape(self.config, self.vae.config.downscale, window, height, width)
        checked = Settings.from_dict(settings)
        check_seeds(seed)
        return edit_long(self, prompt, footage, shape, overlap, negative_prompt, seed, checked, progress)

    def _run(
        self,
        prompts: Sequence[str],
        subjects: Sequence[tuple[AnyArray, AnyArray | None]],
        shape: Shape,
        negative_prompt: str | Sequence[str],
        seed: int | Sequence[int],
        latents: AnyArray | None,
        settings: Mapping[str, Any],
        on_step: OnStep | None,
        progress: bool,
    ) -> UInt8[np.ndarray, "batch frame height width 3"]:
        checked, batch = Settings.from_dict(settings), len(prompts)
        negatives = [negative_prompt] * batch if isinstance(negative_prompt, str) else list(negative_prompt)
        seeds = list(range(seed, seed + batch)) if isinstance(seed, int) else list(seed)
        if not len(negatives) == len(seeds) == batch:
            raise UserError(f"{len(negatives)} negative prompts and {len(seeds)} seeds for {batch} prompts")
        for each in seeds:
            check_seeds(each)
        if self.unet.batch_sharding is not None:
            mesh: Any = self.unet.batch_sharding.mesh
            if batch % batch_shards(mesh):
                raise UserError(f"{batch} prompts: must be a multiple of {batch_shards(mesh)}, as the mesh shares out")
        if latents is not None:
            require_shape("latents", latents, batch, *self._latent_shape(shape))
        keys = noise.seed_keys(seeds)
        clips = self.sample(
            self.encode_prompts(prompts),
            self.encode_prompts(negatives),
            self.encode_subjects(subjects, shape, keys),
            self.start_latents(shape, keys, checked) if latents is None else latents,
            keys,
            checked,
            on_step=on_step,
            progress=progress,
        )
        return np.concatenate([self.decode(clip) for clip in clips], axis=1)

    def encode_prompts(self, prompts: Sequence[str]) -> Tokens:
        """Text tokens, [prompt, token, channel]. A prompt that is too long is cut with a warning."""
        return self.text_encoder(self.tokenizer(prompts))

    def encode_subjects(
        self,
        subjects: Sequence[tuple[AnyArray, AnyArray | None]],
        shape: Shape,
        keys: Keys,
        around: AnyArray | None = None,
    ) -> Subject:
        """Encode subjects for APA and HFA.

        Args:
            subjects: for each clip its frames and their masks (None: the whole frames): one frame to generate, the
                others being black, or all of them to edit. The same number for all clips.
            shape: of the clips.
            keys: one for each clip, for the subject latents' noise.
            around: True where the subjects are in a longer video, [1, height, width], of which these are parts; None:
                the part of the pictures that the model sees follows from their own masks.

        Raises:
            UserError: frames or masks that do not fit, or the model lacks a vision tower.
        """
        clips = [check_clip(*subject) for subject in subjects]
        for _, masks in clips:
            if masks is not None and around is None:
                tell_loss(masks, shape.height, shape.width)
        if len({len(frames) for frames, _ in clips}) != 1 or len(clips[0][0]) > shape.frames:
            raise UserError(f"subjects of {[len(frames) for frames, _ in clips]} frames for clips of {shape.frames}")
        if not self.config.sda:
            clips = [(frames, None) for frames, _ in clips]
        unet = self.unet.config
        encode_images = self.encode_images if unet.apa else None
        levels, crop = unet.hfa_levels, self.config.clip_crop
        within = None if around is None or not self.config.sda else np.asarray(around)
        return conditioning.encode_subjects(clips, shape, keys, self.vae, levels, crop, encode_images, within)

    def encode_images(self, images: Pixels) -> Float[Array, "image query channel"]:
        """Image-prompt tokens of pictures in [-1, 1]. Raises UserError where the model lacks a vision tower."""
        if self.vision is None or self.resampler is None:
            raise UserError(_NO_VISION)
        return self.resampler(self.vision(self.vision(images, method="preprocess")))

    def start_latents(self, shape: Shape, keys: Keys, settings: Settings) -> Latents:
        """The keys' starting noise for clips of `shape`."""
        return start_noise(keys, 0, self._latent_shape(shape), settings.noise_correlation)

    def _latent_shape(self, shape: Shape) -> tuple[int, int, int, int]:
        factor, channels = self.vae.config.downscale, self.unet.config.latent_channels
        return shape.frames, shape.height // factor, shape.width // factor, channels

    def decode(self, latents: Latents) -> UInt8[np.ndarray, "batch frame height width 3"]:
        """Latents of clips → RGB frames, 0 … 255."""
        pixels = self.vae(latents / self.vae.config.scaling_factor, method="decode")
        return np.asarray(conditioning.from_pixels(pixels))


def takes_subjects(unet: UNetConfig) -> bool:
    """Whether there is a way for a subject into the U-Net; there is none into a text-to-video model's."""
    return unet.apa or bool(unet.hfa_levels)


def _check_takes_subjects(unet: UNetConfig) -> None:
    if not takes_subjects(unet):
        raise UserError(
            "a model with neither APA nor HFA takes no subject: generate with a prompt alone, or convert the model "
            "again with one of them"
        )


def _read(folder: Path, name: str, network: Network, fingerprint: str) -> Params:
    stored = directory.read_component(folder, name, network.shapes, fingerprint)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, network.dtype), stored)


def _placed(networks: Mapping[str, Network], mesh: Mesh) -> dict[str, Params]:
    """For each network the tree of its parameters' shapes, types and places on a mesh."""
    shapes = leaves.shapes(networks)
    places = leaf_shardings(SHARDING, shapes, mesh)
    placed = {
        path: jax.ShapeDtypeStruct(leaf.shape, networks[path.split("/")[0]].dtype, sharding=places[path])
        for path, leaf in shapes.items()
    }
    return {name: leaves.to_params(name, placed) for name in networks}


def _batch(
    prompt: str | Sequence[str],
    subject: AnyArray | Sequence[AnyArray | None] | None,
    mask: AnyArray | Sequence[AnyArray | None] | None,
) -> tuple[list[str], list[tuple[Any, AnyArray | None]]]:
    """Prompts, and for each of them a subject and its mask. Raises UserError where their numbers differ."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    subjects: list[Any] = [subject] * len(prompts) if subject is None or hasattr(subject, "shape") else list(subject)
    masks: list[Any] = [mask] * len(prompts) if mask is None or hasattr(mask, "shape") else list(mask)
    if not len(prompts) == len(subjects) == len(masks):
        raise UserError(f"{len(prompts)} prompts, {len(subjects)} subjects and {len(masks)} masks: must be as many")
    return prompts, list(zip(subjects, masks, strict=True))


def _shape(
    model: directory.ModelConfig, multiple: int, frames: int | None, height: int | None, width: int | None
) -> Shape:
    defaults = model.frames, model.resolution, model.resolution
    shape = Shape(
        *(own if asked is None else asked for asked, own in zip((frames, height, width), defaults, strict=True))
    )
    if shape.frames < 1:
        raise UserError(f"frames {shape.frames}: must be at least 1")
    if min(shape.height, shape.width) < 1 or shape.height % multiple or shape.width % multiple:
        raise UserError(f"height {shape.height}, width {shape.width}: must be multiples of {multiple}")
    return shape
