"""Backgrounds: seen by simple means, and panning as they say."""

import itertools

import numpy as np
import pytest

from magdiff_jax.data.emoji import EmojiMotion
from magdiff_jax.data.emoji.backgrounds import COLOURS, TEXTURES, Background, draw, render

_MIDDLES = np.array([np.mean(pair, axis=0) for pair in COLOURS.values()])


def _colour(pixels: np.ndarray) -> str:
    """The colour of [pixel, 3]: the nearest to their mean."""
    return list(COLOURS)[np.abs(_MIDDLES - pixels.mean(axis=0)).sum(axis=-1).argmin()]


def _texture(frame: np.ndarray, colour: str) -> str:
    main, shade = (np.array(rgb, float) for rgb in COLOURS[colour])
    dark = ((frame - main) @ (shade - main) / ((shade - main) ** 2).sum()) > 0.5
    if dark.mean() < 0.01:
        return "plain"
    # Stripes are as they were after a shift along them.
    for x, y in ((0, 9), (9, 0), (9, 9), (-9, 9)):
        if (np.roll(dark, (y, x), (0, 1)) == dark)[10:-10, 10:-10].mean() > 0.97:
            return "striped"
    if dark.mean() < 0.4:
        return "tiled" if dark.mean(axis=1).max() > 0.95 else "dotted"
    # Each row of a chequerboard is the first one or its opposite.
    # (But for rows on the border of two fields; of five rows some are not.)
    same = (dark == dark[24:44:4, None]).mean(axis=2)
    return "checkered" if np.maximum(same, 1 - same).mean(axis=1).max() > 0.85 else "wavy"


@pytest.mark.parametrize("texture", TEXTURES)
def test_backgrounds_can_be_told_apart(texture: str) -> None:
    random = np.random.default_rng(0)
    for colour in COLOURS:
        background = draw([colour], random.random)
        angle = int(random.choice([0, 45, 90, 135])) if texture == "striped" else 0
        background = background._replace(texture=texture, angle=angle)
        for frame in render(background, [0.0, 1.0], 64, 64):
            assert _colour(frame.reshape(-1, 3)) == colour
            assert _texture(frame.astype(float), colour) == texture, background


def test_colours_can_be_told_beside_a_subject() -> None:
    source = EmojiMotion("test", 80, 64)
    for index in range(80):
        clip = source[index]
        pixels = clip.frames([0])[0][clip.alphas([0])[0] == 0]
        assert _colour(pixels) == clip.sample.background.colour


def test_no_shade_is_near_another_colour() -> None:
    for (first, pair), (second, other) in itertools.combinations(COLOURS.items(), 2):
        gap = min(np.abs(np.subtract(a, b)).sum() for a in pair for b in other)
        assert gap > 60, (first, second)


@pytest.mark.parametrize(("panning", "step"), [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))])
def test_panning_moves_the_texture_by_its_distance(panning: str, step: tuple[int, int]) -> None:
    background = Background("green", "wavy", panning, 0.25, 0.2, 0, (0.3, 0.6))
    first, middle, last = render(background, [0.0, 0.5, 1.0], 80, 80)
    for frame, shift in ((middle, 10), (last, 20)):
        moved = np.roll(first, (shift * step[1], shift * step[0]), (0, 1))
        np.testing.assert_array_equal(moved[20:-20, 20:-20], frame[20:-20, 20:-20])
    still = render(background._replace(panning="", distance=0.0), [0.0, 1.0], 80, 80)
    np.testing.assert_array_equal(still[0], still[1])


def test_the_texture_grows_with_the_frame() -> None:
    for texture in TEXTURES:
        background = Background("blue", texture, "", 0.0, 0.25, 0, (0.1, 0.2))
        small, large = render(background, [0.0], 64, 64)[0], render(background, [0.0], 256, 256)[0]
        averaged = large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
        assert np.abs(averaged - small).mean() < 2
