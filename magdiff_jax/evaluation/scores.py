"""What a model made beside the truth."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from magdiff_jax.data.clip import Frames, Masks
from magdiff_jax.data.emoji.drawings import Drawings
from magdiff_jax.data.emoji.source import Sample
from magdiff_jax.evaluation.cases import Case
from magdiff_jax.evaluation.identity import PIXELS, Look, consistency, rank, reference_features, subject_features
from magdiff_jax.evaluation.reading import Reading, pans_as, read
from magdiff_jax.evaluation.segment import Track

# Of values rounded to whole levels: what equal pictures have.
_ROUNDING = 1 / 12

_drawings = Drawings()


class Score(NamedTuple):
    """Of one clip; all of it is what JSON has.

    Attributes:
        case: its number.
        subject: the code of its drawing.
        asked: motion, colour, texture and panning of the caption.
        seen: the same, as read from the clip.
        figures: by metric: 1 or 0 for what is right or wrong; of `nearer/…`, the share of the other drawings that are
            less similar to the subject than its own; of `consistency/…`, the cosine; of editing, `psnr` in decibels and
            `track_error` in pixels.
        ranks: by look, of the subject among 50: 0 is right.
    """

    case: int
    subject: str
    asked: dict[str, str]
    seen: dict[str, str]
    figures: dict[str, float]
    ranks: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The values of JSON."""
        return self._asdict()


def score_generation(case: Case, frames: Frames, looks: Sequence[Look] = (PIXELS,)) -> Score:
    """Of a clip generated from the subject and the caption of `case.clip`: place, size and course are free."""
    return _score(case, case.clip.sample, frames, read(frames), looks)


def score_edit(case: Case, frames: Frames, looks: Sequence[Look] = (PIXELS,)) -> Score:
    """Of an edit of `case.clip` to the caption of `case.edit`, whose frames are the truth to the pixel."""
    every = range(case.edit.info.length)
    truth, masks, reading = case.edit.frames(every), case.edit.masks(every), read(frames)
    score = _score(case, case.edit.sample, frames, reading, looks)
    # Both tracks are read in the same way: what a mask cannot see is missing in both.
    error = track_error(reading.track, read(truth).track) * min(frames.shape[1:3])
    return score._replace(figures=score.figures | {"psnr": psnr(frames, truth, masks), "track_error": error})


def psnr(frames: Frames, truth: Frames, masks: Masks) -> float:
    """Peak signal-to-noise ratio inside the masks of all frames, in decibels; 59 for equal pictures."""
    differences = frames[masks].astype(np.float32) - truth[masks].astype(np.float32)
    return 10 * math.log10(255**2 / max(float((differences**2).mean()), _ROUNDING))


def unexplained(
    frames: UInt8[np.ndarray, "clip frame height width 3"],
    truth: UInt8[np.ndarray, "clip frame height width 3"],
    masks: Bool[np.ndarray, "clip frame height width"],
) -> Float[np.ndarray, "frame"]:
    """By frame, of many clips: the mean squared error of the subjects' pixels over the variance of all their pixels.

    0 for equal clips; over all frames 1 for no more than the subjects' mean colour: the fraction of variance
    unexplained, 1 - R².
    """
    errors = np.square(frames.astype(np.float32) - truth)
    variance = truth[masks].astype(np.float64).var(axis=0).mean()
    every = range(frames.shape[1])
    return np.array([errors[:, frame][masks[:, frame]].mean(dtype=np.float64) / variance for frame in every])


def track_error(track: Track, truth: Track) -> float:
    """The mean distance of the centres, in the tracks' units."""
    return float(np.hypot(track.x - truth.x, track.y - truth.y).mean())


def _score(case: Case, sample: Sample, frames: Frames, reading: Reading, looks: Sequence[Look]) -> Score:
    background = sample.background
    figures = {
        "motion": reading.motion == sample.path.motion,
        "colour": reading.colour == background.colour,
        "texture": reading.texture == background.texture,
        "background": reading.colour == background.colour and reading.texture == background.texture,
        "panning": pans_as(reading.panning, background),
    }
    ranks, consistencies = {}, {}
    for look in looks:
        subject = subject_features(frames, reading, look)
        own_and_others = reference_features(_drawings, case.codes, frames.shape[1:3], reading.tint, look)
        ranks[look.name] = rank(subject, own_and_others)
        consistencies[f"consistency/{look.name}"] = consistency(subject)
    identities = {f"identity/{name}": place == 0 for name, place in ranks.items()}
    nearer = {f"nearer/{name}": 1 - place / (len(case.codes) - 1) for name, place in ranks.items()}
    return Score(
        case=case.number,
        subject=sample.subject.code,
        asked={"motion": sample.path.motion, **{name: getattr(background, name) for name in _LOOKS_OF_BACKGROUND}},
        seen={"motion": reading.motion, **{name: getattr(reading, name) for name in _LOOKS_OF_BACKGROUND}},
        figures={name: float(value) for name, value in {**identities, **nearer, **figures, **consistencies}.items()},
        ranks=ranks,
    )


_LOOKS_OF_BACKGROUND = ("colour", "texture", "panning")
