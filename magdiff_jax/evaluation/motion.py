"""Which of the nine motions a subject shows, read from its track and from how it is turned."""

import math

import numpy as np

from magdiff_jax.data.clip import Frames, Masks
from magdiff_jax.data.emoji import motions
from magdiff_jax.evaluation.crops import AROUND, SIDE, crops
from magdiff_jax.evaluation.segment import Track

# A motion of half the least extent that EmojiMotion has is that motion: the border between it and none.
_ENOUGH = 0.5
# Turning back must make the subject's pictures this much more alike, in the variance between frames.
_LESS_VARIANCE = 0.85
_TURN_STEP = 15
_SMOOTHING = 1.0  # pixels of a crop
# Beyond what EmojiMotion has by a step, either way round.
_TURNS = [float(sign * turn) for turn in range(135, 346, _TURN_STEP) for sign in (1, -1)]


def read_turn(frames: Frames, masks: Masks) -> float:
    """By how many degrees the subject is turned from the first frame to the last, clockwise; 0 if it does not spin.

    A steady spin is one by which, turned back, the subject looks the same in all frames. That of a subject which looks
    the same from all sides cannot be seen.
    """
    import cv2

    # Smoothed, because turning smooths too: else noise would make every turn look better than none.
    upright = [cv2.GaussianBlur(crop, (0, 0), _SMOOTHING) for crop in crops(frames, masks)]
    times = np.linspace(0, 1, len(frames))
    middle = (SIDE - 1) / 2

    def variance(turn: float) -> float:
        # OpenCV's angles are counterclockwise: what is turned clockwise is turned back.
        backs = [cv2.getRotationMatrix2D((middle, middle), turn * time, 1.0) for time in times]
        turned = [
            cv2.warpAffine(crop, back, (SIDE, SIDE), borderValue=(AROUND,) * 3)
            for crop, back in zip(upright, backs, strict=True)
        ]
        return float(np.stack(turned).var(axis=0, dtype=np.float32).mean())

    variances = [variance(turn) for turn in _TURNS]
    best = int(np.argmin(variances))
    return _TURNS[best] if variances[best] < _LESS_VARIANCE * variance(0.0) else 0.0


def read_motion(track: Track, turn: float) -> str:
    """The motion, one of `motions.MOTIONS`.

    Args:
        track: of the subject.
        turn: as `read_turn` gives it.

    Each way of moving is fitted to the track by least squares and measured in units of the least that EmojiMotion has;
    the strongest is the motion, if it is at least a half.
    """
    if turn:
        return "spin"
    across, down = _slope(track.x) / motions.TRAVEL, _slope(track.y) / motions.TRAVEL
    growth = _slope(np.log(np.maximum(track.size, 1e-3))) / math.log(motions.LEAST_GROWTH)
    strengths = {
        "left": -across,
        "right": across,
        "up": -down,
        "down": down,
        "grow": growth,
        "shrink": -growth,
        "bounce": _hops(track.y) / motions.TRAVEL,
    }
    strongest = max(strengths, key=lambda motion: strengths[motion])
    return strongest if strengths[strongest] >= _ENOUGH else "still"


def _slope(values: np.ndarray) -> float:
    """From the first frame to the last, of the line through all."""
    return _coefficient(values, np.linspace(0, 1, len(values)))


def _hops(values: np.ndarray) -> float:
    """The height of two hops in a course downwards."""
    return _coefficient(values, np.array([motions.bounce(time) for time in np.linspace(0, 1, len(values))]))


def _coefficient(values: np.ndarray, course: np.ndarray) -> float:
    centred = course - course.mean()
    return float(centred @ values / (centred @ centred))
