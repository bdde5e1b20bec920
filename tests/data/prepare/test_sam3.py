import sys

import numpy as np
import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.sam3 import Sam3
from magdiff_jax.data.prepare.stages import make_segmenter
from magdiff_jax.errors import UserError
from tests.data.prepare.tiny_models import torchvision_loads, write_sam3

torch = pytest.importorskip("torch")

needs_torchvision = pytest.mark.skipif(not torchvision_loads(), reason="no torchvision that belongs to this torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def segmenter(folder):
    return make_segmenter({"kind": "sam3", "model": str(folder), "threshold": 0.0, "device": "cpu"})


@needs_torchvision
def test_masks_are_those_of_transformers_with_all_in_memory(segmenter, folder, driver):
    from transformers import Sam3VideoModel, Sam3VideoProcessor

    driver = driver[:8]  # later the model drops the first object, whose detections do not recur
    found = segmenter.segment(driver, "cat", None)
    assert found.masks.shape == driver.shape[:3]
    assert found.masks.dtype == bool
    shares = found.masks.mean(axis=(1, 2))
    assert shares.min() > 0.05, "the comparison is of masks that are neither empty nor full"
    assert shares.max() < 0.95

    processor = Sam3VideoProcessor.from_pretrained(folder)
    model = Sam3VideoModel.from_pretrained(folder).eval()
    model.new_det_thresh = model.score_threshold_detection = 0.0
    session = processor.init_video_session(video=driver.transpose(0, 3, 1, 2))
    processor.add_text_prompt(session, "cat")
    outputs = [processor.postprocess_outputs(session, output) for output in model.propagate_in_video_iterator(session)]
    best = int(outputs[0]["scores"].argmax())
    subject = outputs[0]["object_ids"][best]
    masks = [output["masks"][output["object_ids"] == subject][0].numpy() for output in outputs]
    assert (np.stack(masks) == found.masks).mean() > 0.99
    assert found.provenance["score"] == pytest.approx(outputs[0]["scores"][best].item(), abs=1e-4)
    assert found.provenance["first_frame"] == 0


@needs_torchvision
def test_same_input_gives_the_same_masks_and_text_matters(segmenter, driver):
    first = segmenter.segment(driver[:2], "cat", (1, 2, 3, 4))
    torch.rand(1)
    again = segmenter.segment(driver[:2], "cat", None)
    np.testing.assert_array_equal(again.masks, first.masks)
    assert again.provenance == first.provenance
    other = segmenter.segment(driver[:2], "une façade — 猫", None)
    assert other.provenance != first.provenance


@needs_torchvision
def test_the_threshold_decides(folder, driver):
    masks, provenance = Sam3(str(folder), threshold=1.0, device="cpu").segment(driver[:2], "cat", None)
    assert masks is None
    assert provenance == {"model": str(folder), "threshold": 1.0}


@needs_torchvision
def test_one_frame_and_half_precision(folder, driver):
    half = Sam3(str(folder), threshold=0.0, device="cpu", dtype="bfloat16")
    assert half.segment(driver[:1, :90], "cat", None).masks.shape == (1, 90, 176)


def test_without_torchvision_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "sam3_video"}')
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match="pip install torch torchvision"):
        Sam3(str(tmp_path), device="cpu")


def test_misuse():
    with pytest.raises(ConfigError, match="threshold = 1\\.5"):
        Sam3(threshold=1.5)
