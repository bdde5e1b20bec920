"""Editing videos of any length: what is kept of each frame is small, and pictures are read and made some at a time."""

import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8
from tqdm import tqdm

from magdiff_jax.conditioning import Keys, Shape, Subject
from magdiff_jax.cutout import tell_loss
from magdiff_jax.diffusion import noise
from magdiff_jax.diffusion.settings import Settings
from magdiff_jax.diffusion.windows import make_windows
from magdiff_jax.long_denoiser import denoise_long
from magdiff_jax.media.footage import Footage
from magdiff_jax.sharding.mesh import batch_shards

if TYPE_CHECKING:
    from magdiff_jax.pipeline import MagDiff

# Streams of a seed's keys for the parts in which subjects are encoded; others use smaller numbers.
STREAM = 3_000_000


class _Subjects:
    """Of every frame of a video what the U-Net takes of its subject: in files without a name, which end with it."""

    def __init__(self, length: int):
        self._length = length
        self._wholes: list[np.ndarray] = []

    def write(self, start: int, frames: int, subject: Subject) -> None:
        """Put down what was encoded of successive clips of `frames` frames, from frame `start` on."""
        parts = [np.asarray(part) for part in jax.tree.leaves(subject)]
        parts = [part.reshape(len(part) * frames, -1, *part.shape[2:]) for part in parts]
        self._structure = jax.tree.structure(subject)
        self._wholes = self._wholes or [_in_a_file(self._length, part) for part in parts]
        for whole, part in zip(self._wholes, parts, strict=True):
            whole[start : start + len(part)] = part[: self._length - start]

    def read(self, frames: Int[np.ndarray, "window frame"]) -> Subject:
        """The subjects of windows of frames."""
        parts = [whole[frames] for whole in self._wholes]
        return jax.tree.unflatten(self._structure, [part.reshape(len(part), -1, *part.shape[3:]) for part in parts])


def edit_long(
    pipe: "MagDiff",
    prompt: str,
    footage: Footage,
    shape: Shape,
    overlap: int,
    negative_prompt: str,
    seed: int,
    settings: Settings,
    progress: bool,
) -> Iterator[UInt8[np.ndarray, "frame height width 3"]]:
    """See `MagDiff.edit_long`. `shape`: of a window."""
    length, window, shards = footage.length, shape.frames, _shards(pipe)
    keys = noise.seed_keys([seed])
    # The same noise from window to window, as in FreeNoise (Qiu et al. 2023): what follows from it, the background
    # first of all, then changes by a third less in time than from fresh noise.
    start = pipe.start_latents(shape, keys, settings)[:, np.arange(length) % window]
    latents = denoise_long(
        pipe.sample,
        pipe.encode_prompts([prompt] * shards),
        pipe.encode_prompts([negative_prompt] * shards),
        _encode(pipe, footage, shape, keys, progress).read,
        start,
        keys,
        settings,
        make_windows(length, window, overlap),
        progress,
    )
    for first in range(0, length, shards * window):
        numbers = np.minimum(np.arange(first, first + shards * window), length - 1)
        frames = pipe.decode(latents[0, numbers.reshape(shards, window)])
        yield frames.reshape(-1, *frames.shape[2:])[: length - first]


def _encode(pipe: "MagDiff", footage: Footage, shape: Shape, keys: Keys, progress: bool) -> _Subjects:
    subjects, extent = _Subjects(footage.length), footage.extent[None]
    tell_loss(extent, shape.height, shape.width)
    pairs = iter(footage.read())
    shards = _shards(pipe)
    with tqdm(total=footage.length, desc="subjects", unit="frame", disable=not progress) as bar:
        for start in range(0, footage.length, shards * shape.frames):
            part = list(islice(pairs, shards * shape.frames))
            # The last frame fills up the end: one program for all parts.
            frames, masks = zip(*part, *[part[-1]] * (shards * shape.frames - len(part)), strict=True)
            clips = [
                (np.stack(frames[index : index + shape.frames]), np.stack(masks[index : index + shape.frames]))
                for index in range(0, len(frames), shape.frames)
            ]
            starts = STREAM + start + shape.frames * jnp.arange(shards)
            own = jax.vmap(jax.random.fold_in, (None, 0))(keys[0], starts)
            subjects.write(start, shape.frames, pipe.encode_subjects(clips, shape, own, around=extent))
            bar.update(len(part))
    return subjects


def _shards(pipe: "MagDiff") -> int:
    placed: Any = pipe.unet.batch_sharding
    return 1 if placed is None else batch_shards(placed.mesh)


def _in_a_file(length: int, part: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, part.dtype, "w+", shape=(length, *part.shape[1:]))
