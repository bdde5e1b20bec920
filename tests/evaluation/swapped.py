"""Generates after each case's caption with the next case's subject, and prints the mean figures as JSON.

Right are the motion and the background that the caption tells, and the subject that the picture shows, whatever the
caption calls it. "shown" is the share of clips whose subject is nearer to the one shown than to the one of the caption.
"""

import json
import sys
from collections.abc import Callable

from magdiff_jax import MagDiff, runtime
from magdiff_jax.evaluation.cases import Case, cases
from magdiff_jax.evaluation.scores import score_generation
from magdiff_jax.evaluation.summary import summarise

count, steps, guidance_scale = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
runtime.prepare()
pipe = MagDiff.load()
asked = cases(count, pipe.config.resolution)
shown = [*asked[1:], asked[0]]
pictures = [case.clip.frames([0])[0] for case in shown]
masks = [case.clip.masks([0])[0] for case in shown]
prompts = [case.clip.info.augmented_caption for case in asked]
made = pipe.generate(prompts, pictures, masks, seed=0, steps=steps, guidance_scale=guidance_scale, progress=False)


def figures(codes: Callable[[Case, Case], tuple[str, ...]]) -> dict[str, float]:
    scores = [
        score_generation(case._replace(codes=codes(case, other)), frames)
        for case, other, frames in zip(asked, shown, made, strict=True)
    ]
    return {figure.name: figure.mean for figure in summarise(scores)}


of_all = figures(lambda case, other: other.codes)
of_two = figures(lambda case, other: (other.codes[0], case.codes[0]))
print(json.dumps(of_all | {"shown": of_two["identity/pixels"]}))
