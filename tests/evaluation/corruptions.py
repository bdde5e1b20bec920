"""What a small model gets wrong, in degrees."""

import cv2
import numpy as np


def blur(frames: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian, in pixels."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames]) if sigma else frames


def noise(frames: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Gaussian, in levels."""
    drawn = np.random.default_rng(seed).normal(0, sigma, frames.shape)
    return np.clip(np.round(frames + drawn), 0, 255).astype(np.uint8)


def shift(frames: np.ndarray, levels: int, seed: int = 0) -> np.ndarray:
    """Each of red, green and blue too light or too dark by this."""
    signs = np.random.default_rng(seed).choice([-1, 1], 3)
    return np.clip(frames + levels * signs, 0, 255).astype(np.uint8)


def coarsen(frames: np.ndarray, factor: int) -> np.ndarray:
    """As a VAE that loses details: down and up again."""
    height, width = frames.shape[1:3]
    small = [cv2.resize(f, (width // factor, height // factor), interpolation=cv2.INTER_AREA) for f in frames]
    return np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_CUBIC) for f in small])


def blotch(frames: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Clouds of colour, of this many levels, an eighth of the frame wide, other ones in each frame."""
    count, height, width = frames.shape[:3]
    clouds = np.random.default_rng(seed).normal(0, sigma, (count, 8, 8, 3)).astype(np.float32)
    wide = np.stack([cv2.resize(cloud, (width, height), interpolation=cv2.INTER_CUBIC) for cloud in clouds])
    return np.clip(frames + wide, 0, 255).astype(np.uint8)


def mild(frames: np.ndarray, seed: int = 0) -> np.ndarray:
    """A slight blur, colours off by 10 levels and noise of 8 together."""
    return noise(shift(blur(frames, 0.7), 10, seed), 8, seed)


def fade(frames: np.ndarray, alphas: np.ndarray, amount: float) -> np.ndarray:
    """The subject's colours faded to their mean gray by this share; `alphas` uint8 [frame, height, width]."""
    inside = alphas[..., None] / 255
    gray = (frames * inside).sum() / (3 * inside.sum())
    return np.round(frames + amount * inside * (gray - frames)).astype(np.uint8)


def replace(frames: np.ndarray, masks: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """The lower part of the subject, this share of its rows, has the colours of another clip's frames."""
    replaced = frames.copy()
    for frame, mask, other in zip(replaced, masks, others, strict=True):
        rows = np.flatnonzero(mask.any(axis=1))
        mask = mask & (np.arange(len(mask)) > rows[0] + (1 - share) * (rows[-1] + 1 - rows[0]))[:, None]
        frame[mask] = other[mask]
    return replaced
