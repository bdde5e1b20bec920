"""SDA: the subject cut out by its mask (MagDiff, section 3.2), at the sizes that APA and HFA take it.

Generation has a subject in frame 0 and black frames after it, editing one in every frame; nothing else differs.
Training and sampling both cut out here. NumPy only, so that worker processes need no JAX.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.media.images import Window, fit, subject_window
from magdiff_jax.media.masks import whole_frame_if_empty

# Side of the square that the vision tower's preprocessing starts from (released code).
CLIP_CROP = 448
# What the subject may lose at its edges before it is told.
_KEPT = 0.99
# Outside the subject: -1 once scaled.
BLACK = 0


def cut_out(
    frames: UInt8[np.ndarray, "frame _height _width 3"],
    masks: Bool[np.ndarray, "frame _height _width"] | None,
    height: int,
    width: int,
    within: Window | None = None,
    quiet: bool = False,
) -> UInt8[np.ndarray, "frame {height} {width} 3"]:
    """Frames fitted to a size and blacked out outside the subject.

    Args:
        frames: of a clip.
        masks: of the subject; None for the whole frames (no mask, or the ablation without SDA). One that is empty, or
            has nothing within the part of the frame that is left, means the whole frame too.
        height: to fit to, in pixels.
        width: likewise.
        within: the part of the frames to start from; None for one around the subject, see `images.subject_window`.
        quiet: do not warn of empty masks.
    """
    if within is None and masks is not None:
        within = subject_window(masks, height, width)
    fitted = np.stack([fit(frame, height, width, within) for frame in frames])
    if masks is None:
        return fitted
    inside = whole_frame_if_empty(np.stack([fit(mask, height, width, within) for mask in masks]), quiet)
    return np.where(inside[..., None], fitted, np.uint8(BLACK))


def tell_loss(masks: Bool[np.ndarray, "frame _height _width"], height: int, width: int) -> None:
    """Warns where a subject does not fit into the part of its picture that has the proportions of a clip.

    Whole pictures are no subjects: of them only the middle is meant.
    """
    left, top, right, bottom = subject_window(masks, height, width)
    kept = masks[:, top:bottom, left:right].sum() / max(masks.sum(), 1)
    if kept < _KEPT and masks.any() and not masks.all():
        warnings.warn(
            f"{1 - kept:.0%} of the subject is cut away: it is larger than the part of the picture with the clip's "
            f"shape, {right - left}x{bottom - top} from {left},{top}; a picture with more around it shows all",
            stacklevel=2,
        )


def level_sizes(levels: Sequence[int], height: int, width: int, multiple: int) -> list[tuple[int, int]]:
    """Pixel sizes of HFA's pyramid for a video of `height` x `width`, in the order of `levels`.

    The levels are the paper's for 256 pixels (384, 320, 256); other sizes keep their proportions to the last level,
    rounded to whole latents of `multiple` pixels.
    """

    def scaled(side: int, level: int) -> int:
        return max(round(side * level / levels[-1] / multiple), 1) * multiple

    return [(scaled(height, level), scaled(width, level)) for level in levels]
