import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from PIL import Image
from transformers import (
    AutoTokenizer,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    Sam2VideoInferenceSession,
    Sam2VideoModel,
)

from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.grounded_sam2 import GroundedSam2
from magdiff_jax.data.prepare.stages import make_segmenter
from magdiff_jax.errors import UserError
from tests.data.prepare.batches import asked_together
from tests.data.prepare.tiny_models import IMAGENET, torchvision_loads, write_grounding_dino, write_sam2

torch = pytest.importorskip("torch")

BOX = (60, 30, 60, 80)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write_grounding_dino(tmp_path_factory.mktemp("grounding_dino"))


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    return write_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def segmenter(detector, tracker):
    spec = {"kind": "grounded_sam2", "detector": str(detector), "tracker": str(tracker), "device": "cpu"}
    return make_segmenter(spec)


def track_directly(folder, frames, box):
    """SAM 2 on a clip that is prepared by hand and as a whole, keeping all that it remembers."""
    small = [np.asarray(Image.fromarray(frame).resize((128, 128), Image.Resampling.BILINEAR)) for frame in frames]
    scaled = (np.stack(small) / 255 - IMAGENET["image_mean"]) / IMAGENET["image_std"]
    video = torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32)
    session = Sam2VideoInferenceSession(video=video, dtype=torch.float32)
    height, width = frames.shape[1:3]
    x, y, box_width, box_height = box
    corners = torch.tensor([[x, y], [x + box_width, y + box_height]]) * torch.tensor([128 / width, 128 / height])
    subject = session.obj_id_to_idx(7)
    session.add_point_inputs(
        subject, 0, {"point_coords": corners.view(1, 1, 2, 2), "point_labels": torch.tensor([[[2, 3]]])}
    )
    session.obj_with_new_inputs = [7]
    model = Sam2VideoModel.from_pretrained(folder).eval()
    logits = torch.cat([output.pred_masks for output in model.propagate_in_video_iterator(session, 0)])
    full = torch.nn.functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return (full[:, 0] > 0).numpy()


def detect_directly(folder, picture, text):
    """Score and corners of Grounding DINO's best box."""
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    pixels = GroundingDinoImageProcessorPil.from_pretrained(folder)(picture, return_tensors="pt")
    with torch.inference_mode():
        outputs = GroundingDinoForObjectDetection.from_pretrained(folder).eval()(**pixels, **tokens)
    scores = outputs.logits[0].sigmoid().max(-1).values
    best = int(scores.argmax())
    x, y, width, height = outputs.pred_boxes[0, best].tolist()
    rows, columns = picture.shape[:2]
    corners = (x - width / 2) * columns, (y - height / 2) * rows, (x + width / 2) * columns, (y + height / 2) * rows
    return scores[best].item(), corners


def test_masks_are_those_of_transformers_with_all_in_memory(segmenter, tracker, driver):
    found = segmenter.segment(driver, "man", BOX)
    assert found.masks.shape == driver.shape[:3]
    assert found.masks.dtype == bool
    # Pixels that are normalised in another order differ in their last bit.
    assert (found.masks == track_directly(tracker, driver, BOX)).mean() > 0.9999
    shares = found.masks.mean(axis=(1, 2))
    assert shares.min() > 0.05, "the comparison is of masks that are neither empty nor full"
    assert shares.max() < 0.95
    assert found.provenance == {"model": str(tracker), "box": list(BOX)}


@pytest.mark.skipif(not torchvision_loads(), reason="no torchvision that belongs to this torch")
def test_masks_are_those_of_sam2s_own_processor(segmenter, tracker, driver):
    from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor

    size = {"height": 128, "width": 128}
    processor = Sam2VideoProcessor(Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size))
    session = processor.init_video_session(video=driver.transpose(0, 3, 1, 2))
    x, y, width, height = BOX
    processor.add_inputs_to_inference_session(session, 0, 1, input_boxes=[[[x, y, x + width, y + height]]])
    model = Sam2VideoModel.from_pretrained(tracker).eval()
    masks = [
        processor.post_process_masks([output.pred_masks], [driver.shape[1:3]])[0][0, 0].numpy()
        for output in model.propagate_in_video_iterator(session, 0)
    ]
    # Pillow and torchvision round the resized pixels differently.
    assert (np.stack(masks) == segmenter.segment(driver, "man", BOX).masks).mean() > 0.99


@pytest.mark.parametrize("picture", [skimage.data.chelsea(), skimage.data.coffee()[:200]])
def test_detected_box_is_that_of_transformers(segmenter, detector, picture):
    found = segmenter.segment(picture[None], "Cat", None)
    score, corners = detect_directly(detector, picture, "cat.")
    assert found.provenance["score"] == pytest.approx(score, abs=1e-6)
    x, y, width, height = found.provenance["box"]
    np.testing.assert_allclose([x, y, x + width, y + height], corners, atol=1.001)
    assert x <= corners[0]
    assert y + height >= corners[3]
    assert found.provenance["phrase"].startswith("cat")
    assert found.masks.shape == (1, *picture.shape[:2])


def test_the_label_is_looked_for_only_without_a_box(segmenter, driver):
    detected = segmenter.segment(driver[:3], "cat", None)
    box = tuple(detected.provenance["box"])
    given = segmenter.segment(driver[:3], "no such thing", box)
    np.testing.assert_array_equal(given.masks, detected.masks)
    assert "detector" not in given.provenance
    elsewhere = segmenter.segment(driver[:3], "cat", BOX)
    assert (elsewhere.masks != detected.masks).any()


def test_what_is_found_in_a_batch_is_what_is_found_alone(segmenter):
    """Texts of several lengths; pictures of another size are in a batch of their own."""
    cat, cup = skimage.data.chelsea(), skimage.data.coffee()
    labels = ["cat", "coffee cups", "a", "a façade — 猫"]
    asked = [(picture, label) for picture in (cat, cat[:, ::-1], cup[:200]) for label in labels]
    alone = [segmenter.segment(picture[None], label, None) for picture, label in asked]
    found, sizes = asked_together(
        lambda one: segmenter.segment(one[0][None], one[1], None),
        asked,
        GroundingDinoForObjectDetection,
        lambda found: len(found.logits),
    )
    assert sizes == [4, 4, 4]
    for together, single in zip(found, alone, strict=True):
        score = together.provenance.pop("score")
        assert score == pytest.approx(single.provenance.pop("score"), abs=2e-6)
        assert together.provenance == single.provenance
        np.testing.assert_array_equal(together.masks, single.masks)
    assert len({json.dumps(single.provenance) for single in alone}) > 6


def test_two_clips_tracked_by_many_threads_are_those_tracked_alone(segmenter, driver):
    asked = [(driver[:4], BOX), (driver[3:7, :100], (40, 20, 60, 60))] * 3
    alone = [segmenter.segment(frames, "man", box) for frames, box in asked]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda one: segmenter.segment(one[0], "man", one[1]), asked))
    for together, single in zip(found, alone, strict=True):
        np.testing.assert_array_equal(together.masks, single.masks)


def test_same_input_gives_the_same_masks(segmenter, driver):
    first = segmenter.segment(driver[:3], "a façade — 猫", None)
    torch.rand(1)
    again = segmenter.segment(driver[:3], "a façade — 猫", None)
    np.testing.assert_array_equal(again.masks, first.masks)
    assert again.provenance == first.provenance


def test_thresholds_decide(detector, tracker, driver):
    best, _ = detect_directly(detector, driver[0], "cat.")
    for key in ("box_threshold", "text_threshold"):
        strict = GroundedSam2(str(detector), str(tracker), **{key: 1.0}, device="cpu")
        masks, provenance = strict.segment(driver, "cat", None)
        assert masks is None
        assert provenance["score"] == pytest.approx(best, abs=1e-6)
        assert "box" not in provenance


def test_a_subject_that_sam2_never_sees_is_nothing_found(detector, tmp_path, driver):
    blind = GroundedSam2(str(detector), str(write_sam2(tmp_path, subject_seen=False)), device="cpu")
    masks, provenance = blind.segment(driver[:3], "man", BOX)
    assert masks is None
    assert provenance["box"] == list(BOX)


def test_half_precision_gives_about_the_same_masks(detector, tracker, driver, segmenter):
    half = GroundedSam2(str(detector), str(tracker), device="cpu", dtype="bfloat16")
    whole = segmenter.segment(driver[:1], "cat", BOX).masks
    assert (half.segment(driver[:1], "cat", BOX).masks == whole).mean() > 0.9
    assert half.segment(driver[:3], "cat", None).provenance["box"]


@pytest.mark.parametrize("box", [(-1, 0, 9, 9), (170, 0, 7, 9), (9, 9, 0, 4)])
def test_box_outside_the_frame_names_its_size(segmenter, driver, box):
    with pytest.raises(UserError, match="176x144"):
        segmenter.segment(driver[:1], "man", box)


def test_misuse(detector, tracker):
    with pytest.raises(ConfigError, match="box_threshold = 35"):
        GroundedSam2(str(detector), str(tracker), box_threshold=35.0)
    with pytest.raises(UserError, match="of type grounding-dino; this stage takes sam2_video"):
        GroundedSam2(str(detector), str(detector), device="cpu")
