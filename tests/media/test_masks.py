import numpy as np
import pytest
from PIL import Image

from magdiff_jax.errors import UserError
from magdiff_jax.media.images import Picture
from magdiff_jax.media.masks import alpha_mask, read_masks, whole_frame_if_empty
from magdiff_jax.media.writing import write_video


def colour_of(number: int) -> list[int]:
    """Of an object in DAVIS and Pascal VOC: its bits, dealt out to red, green and blue from the highest down."""
    return [sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]


@pytest.fixture
def moving() -> np.ndarray:
    """A block of 20x24 pixels that moves right by 4 a frame, [12, 48, 80]."""
    masks = np.zeros((12, 48, 80), bool)
    for index, mask in enumerate(masks):
        mask[10:30, 4 * index : 4 * index + 24] = True
    return masks


def pixels(masks) -> np.ndarray:
    return np.where(masks[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=-1)


def test_one_picture_serves_all_frames(tmp_path, moving):
    Image.fromarray(moving[3]).save(tmp_path / "mask.png")
    masks = read_masks(tmp_path / "mask.png", 5, 48, 80, start=2, stride=3)
    np.testing.assert_array_equal(masks, moving[[3] * 5])


@pytest.mark.parametrize("name", ["masks", "masks.gif", "masks.mp4"])
def test_clip_of_masks_is_picked_as_its_video(tmp_path, moving, name):
    write_video(tmp_path / name, pixels(moving), 8.0)
    masks = read_masks(tmp_path / name, 4, 48, 80, start=1, stride=3)
    np.testing.assert_array_equal(masks, moving[1:11:3])


def test_varying_alpha_is_the_mask_and_constant_alpha_is_not(tmp_path, moving, cat):
    colour = cat[:48, :80]
    Image.fromarray(np.dstack([colour, pixels(moving)[0, ..., 0]])).save(tmp_path / "cut.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "cut.png", 1, 48, 80), moving[:1])

    opaque = np.full((48, 80), 255, np.uint8)
    Image.fromarray(np.dstack([pixels(moving)[0], opaque])).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "opaque.png", 1, 48, 80), moving[:1])


def test_coloured_labels_count_as_subject(tmp_path, moving):
    labels = Image.fromarray(moving[0].astype(np.uint8))
    labels = labels.convert("P")
    labels.putpalette([0, 0, 0, 128, 0, 0])
    labels.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "labels.png", 1, 48, 80), moving[:1])


def test_16_bit_mask(tmp_path, moving):
    Image.fromarray(moving[0].astype(np.uint16) * 65535).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "deep.png", 1, 48, 80), moving[:1])


def test_wrong_size_names_both(tmp_path, moving):
    Image.fromarray(moving[0]).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"mask\.png is 80x48 but .* are 256x128"):
        read_masks(tmp_path / "mask.png", 1, 128, 256)


def test_too_few_masks_and_missing(tmp_path, moving):
    write_video(tmp_path / "masks", pixels(moving[:3]), 8.0)
    with pytest.raises(UserError, match="masks has 3 frames; frames 0, 1, …, 7 are needed"):
        read_masks(tmp_path / "masks", 8, 48, 80)
    with pytest.raises(UserError, match="does not exist"):
        read_masks(tmp_path / "none.png", 8, 48, 80)


def test_alpha_mask(moving, cat):
    colour = cat[:48, :80]
    assert alpha_mask(Picture(colour, None)) is None
    assert alpha_mask(Picture(colour, np.full((48, 80), 255, np.uint8))) is None
    alpha = np.where(moving[0], 128, 127).astype(np.uint8)
    np.testing.assert_array_equal(alpha_mask(Picture(colour, alpha)), moving[0])


def test_empty_masks_mean_the_whole_frame(moving):
    moving[[1, 4]] = False
    with pytest.warns(UserWarning, match="empty mask in frame 1, 4:"):
        filled = whole_frame_if_empty(moving)
    assert filled[[1, 4]].all()
    rest = [0, 2, 3, 5]
    np.testing.assert_array_equal(filled[rest], moving[rest])
    assert not moving[1].any(), "the input must stay as it was"


def test_full_masks_pass_without_a_warning(moving):
    np.testing.assert_array_equal(whole_frame_if_empty(moving), moving)


# What is the subject ---------------------------------------------------------------------------

VOC = [value for number in range(256) for value in colour_of(number)]


@pytest.mark.parametrize("kind", ["1", "255", "3 of 3", "16 bit 1", "16 bit 255", "16 bit 24000", "gray 40 and 150"])
def test_gray_masks_of_all_kinds(tmp_path, moving, kind):
    block = moving[0].astype(np.uint8)
    half = block.copy()
    half[:, :12] *= 2  # another object
    Image.fromarray(
        {
            "1": block,
            "255": block * 255,
            "3 of 3": half + block,
            "16 bit 1": block.astype(np.uint16),
            "16 bit 255": block.astype(np.uint16) * 255,
            "16 bit 24000": block.astype(np.uint16) * 24000,
            "gray 40 and 150": np.where(half == 2, 40, block * 150).astype(np.uint8),
        }[kind]
    ).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "mask.png", 1, 48, 80), moving[:1])


@pytest.mark.parametrize("number", [1, 8, 64, 200])
def test_every_colour_of_a_palette_is_an_object_but_black_and_void(tmp_path, moving, number):
    labels = moving[0].astype(np.uint8) * number
    labels[:5] = 255  # void
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette(VOC)
    picture.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "labels.png", 1, 48, 80), moving[:1])
    picture.convert("RGB").crop((0, 5, 80, 48)).save(tmp_path / "colours.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "colours.png", 1, 43, 80), moving[:1, 5:])


def test_soft_edges_and_jpeg_s_noise_are_cut_at_half(tmp_path, moving):
    import cv2

    soft = cv2.GaussianBlur(pixels(moving[:1])[0, ..., 0], (0, 0), 2)
    Image.fromarray(soft).save(tmp_path / "soft.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "soft.png", 1, 48, 80)[0], soft >= 128)
    noisy = pixels(moving[:1])[0]
    noisy[~moving[0]] = 3
    Image.fromarray(noisy).save(tmp_path / "noisy.jpg", quality=70)
    np.testing.assert_array_equal(read_masks(tmp_path / "noisy.jpg", 1, 48, 80), moving[:1])


def test_transparency_means_the_same_in_all_frames(tmp_path, moving, cat):
    """Frames that are wholly clear or wholly opaque, among others: their colours tell nothing."""
    (tmp_path / "masks").mkdir()
    alpha = np.where(moving[:4], 255, 0).astype(np.uint8)
    alpha[1], alpha[2] = 0, 255
    for index in range(4):
        Image.fromarray(np.dstack([cat[:48, :80], alpha[index]])).save(tmp_path / f"masks/{index}.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "masks", 4, 48, 80), alpha > 0)


def test_nothing_found_is_told_with_the_values(tmp_path):
    Image.fromarray(np.full((48, 80), 90, np.uint8)).save(tmp_path / "dark.jpg")
    with pytest.warns(UserWarning, match=r"dark\.jpg has no subject: its values are 90 to 90, and .* be 128 or more"):
        assert not read_masks(tmp_path / "dark.jpg", 1, 48, 80).any()
    Image.fromarray(np.zeros((48, 80, 4), np.uint8)).save(tmp_path / "clear.png")
    with pytest.warns(UserWarning, match=r"clear\.png has no subject: its transparency is below one half"):
        assert not read_masks(tmp_path / "clear.png", 1, 48, 80).any()
