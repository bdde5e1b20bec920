"""The suite of the miniature: every case generated and edited, scored, and the first ones shown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from magdiff_jax.conditioning import to_pixels
from magdiff_jax.cutout import BLACK
from magdiff_jax.data.clip import Frames
from magdiff_jax.errors import UserError
from magdiff_jax.evaluation.cases import Case, cases
from magdiff_jax.evaluation.identity import PIXELS, Look
from magdiff_jax.evaluation.scores import Score, score_edit, score_generation
from magdiff_jax.evaluation.sheet import Shown
from magdiff_jax.evaluation.summary import summarise, table, table_by_asked
from magdiff_jax.pipeline import MagDiff, takes_subjects

FRAMES = 8
SHOWN = 12
_BY_ASKED = {"motion": ("motion", "identity/pixels"), "texture": ("texture",)}


class Result(NamedTuple):
    """Of one task over all cases."""

    scores: list[Score]
    shown: list[Shown]


def evaluate(pipe: MagDiff, count: int, batch: int, seed: int, settings: Mapping[str, Any]) -> dict[str, Result]:
    """Generate and edit `count` cases, `batch` at a time; case i with the seed `seed` + i.

    A text-to-video model, which takes no subject, generates after the captions alone and edits nothing.

    Raises:
        UserError: the model makes no square clips of 8 frames.
    """
    if pipe.config.frames != FRAMES:
        raise UserError(f"a model of clips of {pipe.config.frames} frames; the suite has {FRAMES}")
    looks = [PIXELS] if pipe.vision is None else [PIXELS, clip_look(pipe)]
    tasks = {"generation": (_generate, score_generation), "editing": (_edit, score_edit)}
    if not takes_subjects(pipe.unet.config):
        tasks = {"generation": (_generate_without, score_generation)}
    results = {name: Result([], []) for name in tasks}
    with tqdm(total=len(tasks) * count, unit="clip", desc="evaluate") as bar:
        for start, part in _batches(cases(count, pipe.config.resolution), batch):
            # The last batch is filled up, so that its program is the others'.
            full = [*part, *[part[-1]] * (min(batch, count) - len(part))]
            seeds = list(range(seed + start, seed + start + len(full)))
            for name, (run, score) in tasks.items():
                made = run(pipe, full, seed=seeds, progress=False, **settings)
                for case, frames in zip(part, made, strict=False):
                    results[name].scores.append(score(case, frames, looks))
                    if len(results[name].shown) < SHOWN:
                        results[name].shown.append(_shown(name, case, frames))
                bar.update(len(part))
    return results


def clip_look(pipe: MagDiff) -> Look:
    """By the model's own vision tower, as it sees image prompts: on black."""

    def embed(pictures: np.ndarray) -> np.ndarray:
        assert pipe.vision is not None
        return np.asarray(pipe.vision(pipe.vision(to_pixels(pictures), method="preprocess"), method="embed"))

    return Look("clip", embed, side=pipe.config.resolution, around=BLACK)


def tables(results: Mapping[str, Result]) -> Iterator[str]:
    """For each task a table of all figures, and what becomes of each motion and texture."""
    for name, result in results.items():
        yield table(name, summarise(result.scores))
        for what, metrics in _BY_ASKED.items():
            yield table_by_asked(what, metrics, result.scores)


def to_json(results: Mapping[str, Result]) -> dict[str, Any]:
    """Figures and every case's score, by task."""
    return {
        name: {
            "figures": [figure._asdict() for figure in summarise(result.scores)],
            "cases": [score.to_dict() for score in result.scores],
        }
        for name, result in results.items()
    }


def _batches(every: Sequence[Case], size: int) -> Iterator[tuple[int, Sequence[Case]]]:
    for start in range(0, len(every), size):
        yield start, every[start : start + size]


def _generate(pipe: MagDiff, part: Sequence[Case], **settings: Any) -> np.ndarray:
    """From the first frame and its mask, as the subject's picture."""
    given = [(case.clip.frames([0])[0], case.clip.masks([0])[0]) for case in part]
    return pipe.generate([case.clip.info.augmented_caption for case in part], *zip(*given, strict=True), **settings)


def _generate_without(pipe: MagDiff, part: Sequence[Case], **settings: Any) -> np.ndarray:
    return pipe.generate([case.clip.info.augmented_caption for case in part], **settings)


def _edit(pipe: MagDiff, part: Sequence[Case], **settings: Any) -> np.ndarray:
    """The clip over the background of the edit's caption."""
    every = range(FRAMES)
    given = [(case.clip.frames(every), case.clip.masks(every)) for case in part]
    return pipe.edit([case.edit.info.augmented_caption for case in part], *zip(*given, strict=True), **settings)


def _shown(task: str, case: Case, made: Frames) -> Shown:
    clip = case.clip if task == "generation" else case.edit
    given = case.clip.frames(range(FRAMES if task == "editing" else 1))
    return Shown(clip.info.augmented_caption, (("given", given), ("made", made)))
