import numpy as np
import pytest
import skimage.data

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import fit
from magdiff_jax.media.segment import parse_box, segment_box


def iou(a, b):
    return np.logical_and(a, b).sum() / np.logical_or(a, b).sum()


@pytest.fixture(scope="module")
def composite(carphone):
    """A cup seen from above, moving and growing over a real clip, with its exact masks."""
    coffee = skimage.data.coffee()
    frames, masks = carphone[:8].copy(), np.zeros((8, 144, 176), bool)
    rows, columns = np.indices((400, 400)) - 199.5
    for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        size = 60 + index
        cup = fit(coffee[:, 100:500], size, size)
        disc = fit(rows**2 / 0.8 + columns**2 < 190**2, size, size)
        part = (slice(70, 70 + size), slice(5 + 6 * index, 5 + 6 * index + size))
        frame[part][disc] = cup[disc]
        mask[part] = disc
    return frames, masks


@pytest.mark.quick
def test_moving_subject_is_followed(composite):
    frames, masks = composite
    found = segment_box(frames, (3, 68, 66, 64))
    scores = [iou(a, b) for a, b in zip(found, masks, strict=True)]
    assert min(scores) > 0.8, scores


def test_astronaut_is_found_in_her_photo():
    photo = skimage.data.astronaut()
    mask = segment_box(photo[None], (30, 5, 420, 506))[0]
    assert mask[60:170, 190:260].mean() > 0.9, "the face"
    assert mask[260:480, 60:220].mean() > 0.9, "the suit"
    assert mask[:200, :120].mean() < 0.02, "the flag"
    assert not mask[:, 450:].any(), "outside of the box"


def test_same_input_gives_the_same_masks(composite):
    frames, _ = composite
    first = segment_box(frames[:3], (3, 68, 66, 64))
    np.random.default_rng().random()
    np.testing.assert_array_equal(segment_box(frames[:3], (3, 68, 66, 64)), first)


def test_box_over_the_whole_frame_is_the_mask(carphone):
    assert segment_box(carphone[:2], (0, 0, 176, 144)).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (9, 9), (1000, 3)])
def test_small_flat_and_lopsided_frames(size):
    frames = np.full((2, *size, 3), 7, np.uint8)
    height, width = size
    box = (0, 0, max(1, width // 2), max(1, height // 2))
    masks = segment_box(frames, box)
    assert masks.shape == (2, *size)
    assert masks[0].any()


def test_one_pixel_box_does_not_crash(carphone):
    assert segment_box(carphone[:2], (80, 70, 1, 1)).shape == (2, 144, 176)


def test_large_frames_get_masks_of_their_size(composite):
    frames, masks = composite
    large = np.stack([fit(frame, 1440, 1760) for frame in frames[:2]])
    found = segment_box(large, (30, 680, 660, 640))
    assert iou(found, masks[:2].repeat(10, axis=1).repeat(10, axis=2)) > 0.8


def test_parse_box():
    assert parse_box("40,30, 120,200") == (40, 30, 120, 200)
    for text in ("", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,2,3,4", "1 2 3 4", "1,,3,4"):
        with pytest.raises(UserError, match="four whole numbers"):
            parse_box(text)


@pytest.mark.parametrize(
    "box",
    [(-1, 0, 9, 9), (0, -5, 9, 9), (170, 0, 7, 9), (0, 140, 9, 5), (9, 9, 0, 4), (9, 9, 4, 0)],
)
def test_box_outside_the_frame_names_its_size(carphone, box):
    with pytest.raises(UserError, match="176x144"):
        segment_box(carphone[:1], box)
