"""The subject made ready for the three alignments.

SDA: the subject cut out by its mask, the rest black. APA: each frame's cut-out as image-prompt tokens. HFA: each
frame's cut-out as VAE latents, one set for each pyramid level. Generation has a subject in frame 0 and black frames
after it, editing one in every frame; nothing else differs (MagDiff, sections 3.2 to 3.4; released code).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from magdiff_jax.cutout import BLACK, cut_out, level_sizes
from magdiff_jax.diffusion import noise
from magdiff_jax.errors import UserError
from magdiff_jax.media.images import subject_window
from magdiff_jax.models import Component

# NumPy's or JAX's.
AnyArray = np.ndarray | Array
Frames = UInt8[np.ndarray, "_frame _height _width 3"]
Masks = Bool[np.ndarray, "_frame _height _width"]
Pixels = Float[np.ndarray, "_image _height _width 3"]
Tokens = Float[AnyArray, "_batch _token _channel"]
Latents = Float[AnyArray, "_batch _frame _height _width _channel"]
Keys = Key[Array, " batch"]

# Streams of a seed's noise for the subjects' latents, one for each pyramid level; others use smaller numbers.
STREAM = 2_000_000


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


def check_clip(frames: AnyArray, masks: AnyArray | None) -> tuple[Frames, Masks | None]:
    """A user's frames and masks as NumPy arrays.

    Raises:
        UserError: the frames are not RGB from 0 to 255, or the masks not boolean or not of the frames' size.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise UserError(
            f"frames of shape {frames.shape} and type {frames.dtype}: must be [frame, height, width, 3], RGB in uint8"
        )
    if masks is None:
        return frames, None
    masks = np.asarray(masks)
    if masks.dtype != bool or masks.shape != frames.shape[:-1]:
        raise UserError(
            f"masks of shape {masks.shape} and type {masks.dtype}: must be {frames.shape[:-1]}, as the frames, and bool"
        )
    return frames, masks


def to_pixels(images: UInt8[AnyArray, "*shape"]) -> Float[AnyArray, "*shape"]:
    """0 … 255 → [-1, 1]."""
    return images.astype(np.float32) / 127.5 - 1


def from_pixels(pixels: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """[-1, 1] → 0 … 255; what lies outside is clipped."""
    return jnp.round((jnp.clip(pixels.astype(jnp.float32), -1, 1) + 1) * 127.5).astype(jnp.uint8)


def draw_latents(
    mean: Float[Array, "*shape"], log_variance: Float[Array, "*shape"], drawn: Float[Array, "*shape"], scale: float
) -> Float[Array, "*shape"]:
    """Latents as the U-Net takes them, from the VAE's posterior and standard normal noise (Rombach et al. 2022)."""
    return scale * (mean.astype(jnp.float32) + jnp.exp(log_variance.astype(jnp.float32) / 2) * drawn)


def encode_subjects(
    clips: Sequence[tuple[Frames, Masks | None]],
    shape: Shape,
    keys: Keys,
    vae: Component,
    levels: Sequence[int],
    clip_crop: int,
    encode_images: Callable[[Pixels], Float[Array, "image query channel"]] | None,
    around: Masks | None = None,
) -> Subject:
    """Cut subjects out and encode them for APA and HFA.

    Args:
        clips: for each clip its subject's frames and masks (None: the whole frames), the same number for all clips;
            the frames that lack to `shape` are black.
        shape: of the clips.
        keys: one for each clip; latents are drawn from the VAE's posterior, as in the released code.
        vae: encodes for HFA.
        levels: HFA's pyramid; empty: no HFA.
        clip_crop: side in pixels of the cut-outs that APA's vision tower is given.
        encode_images: pixels in [-1, 1] → image-prompt tokens; None: no APA.
        around: masks that decide which part of the pictures is taken, where the clips are parts of a longer one; None:
            each clip's own.
    """
    lacking = shape.frames - len(clips[0][0])

    def encode(encoder: Callable, height: int, width: int) -> list[Float[Array, "batch frame *rest"]]:
        """What an encoder gives, for every frame of every clip; one black frame stands for all that lack."""
        black = np.full((min(lacking, 1), height, width, 3), BLACK, np.uint8)
        within = None if around is None else subject_window(around, height, width)
        images = np.concatenate([part for clip in clips for part in (cut_out(*clip, height, width, within), black)])
        given = len(images) // len(clips)
        of_frame = np.minimum(np.arange(shape.frames), given - 1)
        return [array.reshape(len(clips), given, *array.shape[1:])[:, of_frame] for array in encoder(to_pixels(images))]

    image_tokens = None
    if encode_images is not None:
        (tokens,) = encode(lambda images: (encode_images(images),), clip_crop, clip_crop)
        image_tokens = tokens.reshape(len(clips), -1, tokens.shape[-1])
    latents = []
    for index, size in enumerate(level_sizes(levels, shape.height, shape.width, vae.config.downscale)):
        mean, log_variance = encode(lambda images: vae(images, method="encode"), *size)
        drawn = noise.normal(keys, STREAM + index, mean.shape[1:])
        latents.append(draw_latents(mean, log_variance, drawn, vae.config.scaling_factor))
    return Subject(image_tokens, tuple(latents))
