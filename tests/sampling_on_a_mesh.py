"""Run in a process of its own: a batch on four devices, the parameters shared out among two.

python tests/sampling_on_a_mesh.py MODEL PICTURE FOUND.npz
"""

import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import skimage.data

from magdiff_jax import MagDiff, UserError
from magdiff_jax.media.footage import Footage
from magdiff_jax.media.images import read_image
from magdiff_jax.sharding.mesh import MeshConfig, make_mesh

OPTIONS: dict[str, Any] = {"steps": 3, "eta": 0.5, "progress": False}


def make_batch(picture: np.ndarray) -> tuple[list[str], list[np.ndarray], list[str], list[int]]:
    """Prompts, subjects, negative prompts and seeds of four videos."""
    return (
        ["a cat", "a fox", "a dog on the beach", "a cat in the snow"],
        [picture, picture[:, ::-1], picture[::-1], picture[50:, 50:]],
        ["", "rain", "", "a dog"],
        [7, 1, 9, 3],
    )


def make_footage(length: int) -> Footage:
    """A cat that moves to the right."""
    picture = skimage.data.chelsea()
    mask = np.zeros(picture.shape[:2], bool)
    mask[40:260, 20:200] = True

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(length):
            yield np.roll(picture, 5 * index, axis=1), np.roll(mask, 5 * index, axis=1)

    return Footage(length, read, np.logical_or.reduce([part for _, part in read()], axis=0))


def main(model: str, picture: str, found: str) -> None:
    prompts, subjects, negatives, seeds = make_batch(read_image(picture).rgb)
    pipe = MagDiff.load(model, mesh=make_mesh(MeshConfig(data=2, fsdp=2), jax.devices()))
    latents: list[jax.Array] = []
    frames = pipe.generate(
        prompts,
        subjects,
        negative_prompt=negatives,
        seed=seeds,
        on_step=lambda clip, step, now: latents.append(now),
        **OPTIONS,
    )
    long = np.concatenate(list(pipe.edit_long(prompts[0], make_footage(11), seed=7, **OPTIONS)))
    complaint = ""
    try:
        pipe.generate(prompts[:3], subjects[:3], **OPTIONS)
    except UserError as error:
        complaint = str(error)
    leaves = jax.tree.leaves(pipe.unet.params)
    share = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves) / sum(leaf.nbytes for leaf in leaves)
    np.savez(found, frames=frames, latents=np.asarray(latents[-1]), share=share, complaint=complaint, long=long)


if __name__ == "__main__":
    main(*sys.argv[1:])
