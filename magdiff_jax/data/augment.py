"""Harder subjects: noise, contrast, blur and scale, on the subject alone.

The paper names low-contrast and noisy subject pictures as its weakness (supplement, section F). Here the picture that
the subject is cut out of gets worse while the video to be learnt stays as it is.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.config import Config


@dataclass(frozen=True)
class AugmentConfig(Config):
    """How bad a subject's picture may get.

    Attributes:
        probability: that a subject is changed at all, 0 to 1.
        noise: the largest standard deviation of Gaussian noise, in levels of 255.
        contrast: the least contrast left, 0 to 1 (1: all).
        blur: the largest standard deviation of a Gaussian blur, as a share of the frame's short side.
        scale: the smallest size that the subject may shrink to, 0 to 1; it grows to at most the inverse of it.
    """

    probability: float = 0.0
    noise: float = 20.0
    contrast: float = 0.5
    blur: float = 0.01
    scale: float = 0.8

    def __post_init__(self) -> None:
        self._require_number("probability", 0, 1)
        self._require_number("noise", 0, 255)
        self._require_number("contrast", 0, 1)
        self._require_number("blur", 0, 1)
        self._require_number("scale", 0.1, 1)


def augment_subject(
    frame: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"] | None,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"] | None]:
    """Scale the subject about its middle, then blur it, lower its contrast and add noise, each by a random amount.

    The same amounts are drawn whatever the frame's size, so that `rng` is in the same state afterwards.
    """
    import cv2

    height, width = frame.shape[:2]
    scale = config.scale ** float(rng.uniform(-1, 1))
    deviation = rng.uniform(0, config.blur) * min(height, width)
    contrast = rng.uniform(config.contrast, 1)
    level = rng.uniform(0, config.noise)
    seed = int(rng.integers(2**63))

    rows, columns = np.nonzero(mask) if mask is not None and mask.any() else np.indices((height, width)).reshape(2, -1)
    middle = float(columns.mean()), float(rows.mean())
    about = cv2.getRotationMatrix2D(middle, 0, scale)
    frame = cv2.warpAffine(frame, about, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if mask is not None:
        mask = cv2.warpAffine(mask.astype(np.uint8), about, (width, height), flags=cv2.INTER_NEAREST).astype(bool)
    if deviation > 0:
        frame = cv2.GaussianBlur(frame, (0, 0), deviation)
    mean = frame.mean(axis=(0, 1), dtype=np.float32)
    noise = np.random.default_rng(seed).standard_normal(frame.shape, np.float32) * np.float32(level)
    changed = mean + (frame - mean) * np.float32(contrast) + noise
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8), mask
