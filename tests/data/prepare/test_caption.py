import numpy as np
import pytest
import skimage.data
from PIL import Image
from transformers import AutoTokenizer, Blip2ForConditionalGeneration, Blip2VisionModel

from magdiff_jax.data.prepare.caption import Blip2
from magdiff_jax.data.prepare.stages import make_captioner
from magdiff_jax.errors import UserError
from tests.data.prepare.batches import asked_together
from tests.data.prepare.tiny_models import write_blip2

torch = pytest.importorskip("torch")

QUESTION = "What is the fore-ground in the picture?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_blip2(tmp_path_factory.mktemp("blip2"))


@pytest.fixture(scope="module")
def blip2(folder):
    return make_captioner({"kind": "blip2", "model": str(folder), "device": "cpu"})


def directly(folder, prompt, picture):
    """The first line of BLIP-2's answer with tokens and pixels prepared by hand."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    ids = [tokenizer.convert_tokens_to_ids("<image>")] * 4 + tokenizer(prompt)["input_ids"]
    small = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC), np.float32) / 255
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.tensor(((small - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    tokens = model.generate(pixel_values=pixels, input_ids=torch.tensor([ids]), do_sample=False, max_new_tokens=20)[0]
    if model.config.use_decoder_only_language_model:
        tokens = tokens[len(ids) :]
    return tokenizer.decode(tokens, skip_special_tokens=True).strip().splitlines()[0].strip()


def test_answer_is_that_of_transformers(blip2, folder):
    for picture in (skimage.data.chelsea(), skimage.data.coffee()):
        assert blip2.answer(QUESTION, picture) == directly(folder, f"Question: {QUESTION} Answer:", picture)


def test_answer_depends_on_picture_and_question_alone(blip2, driver):
    cat, cup = (blip2.answer(QUESTION, picture) for picture in (skimage.data.chelsea(), skimage.data.astronaut()))
    assert cat != cup
    torch.rand(1)
    assert blip2.answer(QUESTION, skimage.data.chelsea()) == cat
    assert blip2.answer("How many cups?", skimage.data.chelsea()) != cat
    assert "Question" not in blip2.answer("Qu'est-ce que c'est — 猫?", driver[0])


def test_flan_t5_needs_no_prompt_removed(tmp_path):
    model = Blip2(str(write_blip2(tmp_path, "t5")), device="cpu")
    picture = skimage.data.astronaut()
    answer = model.answer(QUESTION, picture)
    assert answer
    assert answer == directly(tmp_path, f"Question: {QUESTION} Answer:", picture)


def test_half_precision_and_the_name(folder, driver):
    model = Blip2(str(folder), device="cpu", dtype="bfloat16")
    assert isinstance(model.answer(QUESTION, driver[0]), str)
    assert model.name == f"blip2:{folder}"


def test_damaged_weights_are_a_user_error(tmp_path, driver):
    write_blip2(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        Blip2(str(tmp_path), device="cpu").answer(QUESTION, driver[0])


@pytest.mark.parametrize("language_model", ["opt", "t5"])
def test_answers_in_a_batch_are_those_of_pictures_asked_alone(language_model, tmp_path, driver):
    model = Blip2(str(write_blip2(tmp_path, language_model)), device="cpu")
    pictures = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut(), skimage.data.rocket(), *driver]
    questions = [QUESTION, "dog?", "How many cups of coffee are there in the picture?"]
    asked = [(questions[index % 3], picture) for index, picture in enumerate(pictures)]
    alone = [model.answer(*one) for one in asked]
    assert len(set(alone)) >= 4
    answers, sizes = asked_together(
        lambda one: model.answer(*one), asked, Blip2VisionModel, lambda found: len(found.last_hidden_state)
    )
    assert answers == alone
    assert sizes == [len(asked)]
