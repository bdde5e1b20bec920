"""What is read from clips that EmojiMotion does not have."""

import numpy as np
import pytest

from magdiff_jax.data.emoji import backgrounds
from magdiff_jax.data.emoji.backgrounds import Background
from magdiff_jax.data.emoji.motions import MOTIONS
from magdiff_jax.evaluation.motion import read_motion
from magdiff_jax.evaluation.reading import pans_as, read
from magdiff_jax.evaluation.segment import Track, track

TIMES = np.linspace(0, 1, 8)


def disc(x: float, y: float, radius: float, size: int = 32) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return np.hypot(columns / size - x, rows / size - y) < radius


@pytest.mark.parametrize("panning", ["left", "right", "up", "down", ""])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80)])
def test_a_disc_over_dots(panning: str, height: int, width: int) -> None:
    distance = 0.3 if panning else 0.0
    background = Background("purple", "dotted", panning, distance, 0.22, 0, (0.3, 0.6))
    frames = backgrounds.render(background, TIMES.tolist(), height, width)
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 5:17, 8:20] = True
    frames[masks] = (250, 200, 60)
    reading = read(frames)
    assert (reading.colour, reading.texture, reading.panning) == ("purple", "dotted", panning)
    assert (reading.motion, reading.turn) == ("still", 0)
    assert (reading.masks & masks).sum() / (reading.masks | masks).sum() > 0.7


def test_tracks_are_in_the_frames_shorter_side() -> None:
    masks = np.stack([disc(0.3 + 0.4 * time, 0.5, 0.2) for time in TIMES])
    course = track(np.concatenate([masks, np.zeros_like(masks)], axis=2))
    np.testing.assert_allclose(course.x, 0.3 + 0.4 * TIMES, atol=0.01)
    np.testing.assert_allclose(course.y, 0.5, atol=0.01)
    np.testing.assert_allclose(course.size, np.sqrt(np.pi) * 0.2, atol=0.01)


def test_a_subject_that_is_not_seen_is_where_it_was() -> None:
    masks = np.stack([disc(0.3 + 0.4 * time, 0.5, 0.2) for time in TIMES])
    masks[[0, 3, 4]] = False
    course = track(masks)
    np.testing.assert_allclose(course.x, (0.3 + 0.4 * TIMES)[[1, 1, 2, 2, 2, 5, 6, 7]], atol=0.01)
    assert np.isfinite(np.stack(track(np.zeros_like(masks)))).all()


@pytest.mark.parametrize("motion", [motion for motion in MOTIONS if motion != "spin"])
def test_motions_of_noisy_tracks(motion: str) -> None:
    hop = 2 * TIMES % 1
    x, y, size = np.full((3, 8), 0.5)
    x = x + {"left": -0.3, "right": 0.3}.get(motion, 0) * TIMES
    y = y + {"up": -0.3, "down": 0.3}.get(motion, 0) * TIMES - (motion == "bounce") * 0.3 * 4 * hop * (1 - hop)
    size = size * {"grow": 1.6, "shrink": 1 / 1.6}.get(motion, 1) ** TIMES
    random = np.random.default_rng(0)
    for _ in range(20):
        noisy = [values + random.normal(0, 0.03, 8) for values in (x, y, size)]
        assert read_motion(Track(*noisy), 0.0) == motion
        assert read_motion(Track(*noisy), -200.0) == "spin"


def test_over_diagonal_stripes_two_directions_look_the_same() -> None:
    stripes = Background("red", "striped", "right", 0.3, 0.2, 45, (0.0, 0.0))
    assert [pans_as(way, stripes) for way in ("right", "down", "left", "up", "")] == [True, True, False, False, False]
    frames = [backgrounds.render(stripes._replace(panning=way), TIMES.tolist(), 32, 32) for way in ("right", "down")]
    np.testing.assert_array_equal(np.abs(frames[0].astype(int) - frames[1]) < 80, True)
    checks = stripes._replace(texture="checkered", angle=0)
    assert [pans_as(way, checks) for way in ("right", "down")] == [True, False]
