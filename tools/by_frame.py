#!/usr/bin/env python
"""How much of its subject a model knows in each frame: what it makes of pure noise in one step, beside the truth.

Prints, by frame, the mean squared error of the subject's pixels over their variance, of unseen subjects of EmojiMotion:
0 is all, 1 no more than their mean colour. Generation is given the subject in frame 0, editing in all frames. The
line "VAE" is what it loses of the truth. "APA black" and "HFA black" are generation with the subject shown to the other
alignment alone. Below stands generation once more, motion by motion.
"""

import argparse
from collections.abc import Iterable

import numpy as np

from magdiff_jax import commands


def main(arguments: list[str]) -> None:
    parser = commands.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands.add_model_flag(parser)
    parser.add_argument("--cases", type=int, default=72, help="to measure with (default: 72)")
    args = parser.parse_args(arguments)

    from magdiff_jax import runtime

    runtime.prepare()
    from magdiff_jax import MagDiff
    from magdiff_jax.conditioning import Shape, Subject, to_pixels
    from magdiff_jax.cutout import BLACK
    from magdiff_jax.data.emoji.motions import MOTIONS
    from magdiff_jax.diffusion import noise
    from magdiff_jax.diffusion.settings import Settings
    from magdiff_jax.evaluation.cases import cases
    from magdiff_jax.evaluation.scores import unexplained

    pipe = MagDiff.load(args.model)
    clips = [case.clip for case in cases(args.cases, pipe.config.resolution)]
    motions = np.array([clip.sample.path.motion for clip in clips])
    every = range(pipe.config.frames)
    true = np.stack([clip.frames(every) for clip in clips])
    masks = np.stack([clip.masks(every) for clip in clips])
    text = pipe.encode_prompts([clip.info.augmented_caption for clip in clips])
    shape, keys = Shape(*true.shape[1:4]), noise.seed_keys(range(len(clips)))
    once = Settings(steps=1, guidance_scale=1.0)
    noisy = pipe.start_latents(shape, keys, once)

    def encode(frames: np.ndarray, masks: np.ndarray) -> Subject:
        return pipe.encode_subjects(list(zip(frames, masks, strict=True)), shape, keys)

    def make(subject: Subject) -> np.ndarray:
        return pipe.decode(*pipe.sample(text, text, subject, noisy, keys, once, progress=False))

    first = encode(true[:, :1], masks[:, :1])
    black = encode(np.full_like(true[:, :1], BLACK), masks[:, :1])
    mean, _ = pipe.vae(to_pixels(true.reshape(-1, *true.shape[2:])), method="encode")
    latents = (mean * pipe.vae.config.scaling_factor).reshape(*true.shape[:2], *mean.shape[1:])
    made = {
        "generation": make(first),
        "APA black": make(first._replace(image_tokens=black.image_tokens)),
        "HFA black": make(first._replace(latents=black.latents)),
        "editing": make(encode(true, masks)),
        "VAE": pipe.decode(latents),
    }
    for task, frames in made.items():
        print(f"{task:10}", *_two_digits(unexplained(frames, true, masks)))
    for motion in MOTIONS:
        told = motions == motion
        if told.any():
            print(f"{motion:10}", *_two_digits(unexplained(made["generation"][told], true[told], masks[told])))


def _two_digits(shares: Iterable[float]) -> list[str]:
    return [f"{share:.2f}" for share in shares]


if __name__ == "__main__":
    commands.run(main)
