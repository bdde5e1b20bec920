#!/usr/bin/env python
"""How well long edits hold together, by how much their windows overlap.

Clips of EmojiMotion, four windows long, are edited to another background. Prints for each overlap, over the clips whose
background stands still: `seam`, how much more the background changes from frame to frame where a window begins or ends
than elsewhere (1 is no more); `constancy`, the mean distance of the background's pixels to their median over time, in
levels of 255 (0 is a still picture); and over all clips `identity`, the share of subjects that are told among 50.
"""

import argparse
from itertools import pairwise

import numpy as np

from magdiff_jax import commands


def main(arguments: list[str]) -> None:
    parser = commands.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands.add_model_flag(parser)
    parser.add_argument("--cases", type=int, default=12, help="to measure with (default: 12)")
    parser.add_argument("--steps", type=int, default=10, help="DDIM steps (default: 10)")
    args = parser.parse_args(arguments)

    from magdiff_jax import runtime

    runtime.prepare()
    from magdiff_jax import MagDiff
    from magdiff_jax.data.emoji import EmojiMotion
    from magdiff_jax.diffusion.windows import make_windows
    from magdiff_jax.evaluation.cases import Case, cases
    from magdiff_jax.evaluation.scores import score_edit
    from magdiff_jax.media.footage import Footage

    pipe = MagDiff.load(args.model)
    window, size = pipe.config.frames, pipe.config.resolution
    length = 4 * window
    every = range(length)
    clips, edits = (EmojiMotion(split, 10**6, size, frames=length) for split in ("test", "edit"))
    for overlap in (0, window // 4, window // 2):
        windows = make_windows(length, window, overlap).frames
        joints = sorted({*(windows[1:, 0] - 1).tolist(), *windows[:-1, -1].tolist()})
        seams, constancies, identities = [], [], []
        for short in cases(args.cases, size):
            case = Case(short.number, clips[short.number], edits[short.number], short.codes)
            frames, masks = case.clip.frames(every), case.clip.masks(every)
            footage = Footage(length, lambda pairs=(frames, masks): zip(*pairs, strict=True), masks.any(axis=0))
            made = np.concatenate(
                list(
                    pipe.edit_long(
                        case.edit.info.augmented_caption,
                        footage,
                        seed=case.number,
                        overlap=overlap,
                        steps=args.steps,
                        guidance_scale=2.0,
                        progress=False,
                    )
                )
            )
            identities.append(score_edit(case, made).figures["identity/pixels"])
            if not case.edit.sample.background.panning:
                changes, constancy = background(made, masks)
                at = np.isin(np.arange(length - 1), joints)
                seams.append(changes[at].mean() / changes[~at].mean())
                constancies.append(constancy)
        print(
            f"overlap {overlap}: seam {np.mean(seams):.2f}, constancy {np.mean(constancies):.2f} "
            f"({len(seams)} clips), identity {np.mean(identities):.2f} ({len(identities)} clips)",
            flush=True,
        )


def background(frames: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean change of the background's pixels from each frame to the next, and their mean distance to the median."""
    import cv2

    # The subject's rim, where it blends with the background, is none of it.
    outside = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0 for mask in masks])
    levels = frames.astype(np.float32)
    changes = [
        np.abs(after - before)[seen & was].mean()
        for (before, after), (was, seen) in zip(pairwise(levels), pairwise(outside), strict=True)
    ]
    median = np.ma.median(np.ma.array(levels, mask=np.repeat(~outside[..., None], 3, axis=-1)), axis=0).filled(0)
    distances = [np.abs(frame - median)[seen].mean() for frame, seen in zip(levels, outside, strict=True)]
    return np.array(changes), float(np.mean(distances))


if __name__ == "__main__":
    commands.run(main)
