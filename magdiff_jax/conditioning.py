"""The subject made ready for the three alignments.

SDA: the subject cut out by its mask, the rest black. APA: each frame's cut-out as image-prompt tokens. HFA: each
frame's cut-out as VAE latents, one set for each pyramid level. Generation has a subject in frame 0 and black frames
after it, editing one in every frame; nothing else differs (MagDiff, sections 3.2 to 3.4; released code).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from magdiff_jax.media.images import fit

# Side of the square that the vision tower's preprocessing starts from (released code).
CLIP_CROP = 448
BLACK = -1.0

Pixels = Float[np.ndarray, "frame height width 3"]


def to_pixels(images: UInt8[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """0 … 255 → [-1, 1]."""
    return images.astype(np.float32) / 127.5 - 1


def cut_out(
    frames: UInt8[np.ndarray, "frame height width 3"],
    masks: Bool[np.ndarray, "frame height width"] | None,
    height: int,
    width: int,
) -> Pixels:
    """SDA: frames fitted to a size and blacked out outside the subject, in [-1, 1].

    `masks` None: the whole frames (no mask, or the ablation without SDA).
    """
    fitted = np.stack([to_pixels(fit(frame, height, width)) for frame in frames])
    if masks is None:
        return fitted
    inside = np.stack([fit(mask, height, width) for mask in masks])
    return np.where(inside[..., None], fitted, np.float32(BLACK))


def level_sizes(levels: Sequence[int], height: int, width: int, multiple: int) -> list[tuple[int, int]]:
    """Pixel sizes of HFA's pyramid for a video of `height` x `width`, in the order of `levels`.

    The levels are the paper's for 256 pixels (384, 320, 256); other sizes keep their proportions to the last level,
    rounded to whole latents of `multiple` pixels.
    """

    def scaled(side: int, level: int) -> int:
        return max(round(side * level / levels[-1] / multiple), 1) * multiple

    return [(scaled(height, level), scaled(width, level)) for level in levels]
