"""Prompts to token ids, by the tokenizer that came with the model."""

import json
import shutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from magdiff_jax.errors import UserError
from magdiff_jax.text import check_whole

# Its vocabulary comes in one of these sets of files; the others say which tokens are special.
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class Tokenizer:
    """CLIP's tokenizer from a folder in transformers' layout (vocab.json, merges.txt or tokenizer.json).

    Attributes:
        folder: where its files are.
        length: tokens of every prompt, padding and the two special ones included.
        vocabulary: how many tokens there are; ids are smaller.
    """

    def __init__(self, folder: Path, length: int):
        from transformers import CLIPTokenizer

        self.folder = folder
        self.length = length
        if not any(all((folder / name).is_file() for name in names) for names in VOCABULARIES):
            raise UserError(
                f"{folder}: holds no CLIP tokenizer; it consists of vocab.json and merges.txt, or tokenizer.json"
            )
        try:
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises many kinds for missing and damaged files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{folder}: damaged or no CLIP tokenizer ({reason}); copy or download it again") from None
        self.vocabulary = len(self._tokenizer)

    def __call__(self, prompts: Sequence[str]) -> Int[np.ndarray, "prompt token"]:
        """Ids of each prompt, padded to `length`; what does not fit is cut off with a warning that quotes it.

        Raises:
            UserError: a prompt has half a character.
        """
        for prompt in prompts:
            check_whole(prompt, "the prompt")
            ids = self._tokenizer(prompt, verbose=False)["input_ids"]
            if len(ids) > self.length:
                lost = self._tokenizer.decode(ids[self.length - 1 : -1]).strip()
                warnings.warn(
                    f"the prompt has {len(ids)} tokens, the model takes {self.length}; lost: {lost!r}", stacklevel=2
                )
        return self.ids(prompts)

    def ids(self, prompts: Sequence[str]) -> Int[np.ndarray, "prompt token"]:
        """The same without a word of what is cut off: captions of data sets are as long as they are."""
        padded = self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=self.length, return_tensors="np"
        )
        return padded["input_ids"].astype(np.int32)

    def save(self, folder: Path) -> None:
        """Copy the tokenizer's files."""
        copy_files(self.folder, folder)


def copy_files(source: Path, target: Path) -> None:
    """Copy what a tokenizer consists of, and nothing else, to a new folder."""
    target.mkdir()
    for path in files_of(source):
        shutil.copyfile(path, target / path.name)


def files_of(folder: Path) -> list[Path]:
    """What a tokenizer consists of."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def learn_tokenizer(captions: Iterable[str], folder: Path, most: int = 1000) -> int:
    """Write a new folder with a CLIP tokenizer whose vocabulary fits some captions, for models that start from nothing.

    Args:
        captions: byte pairs are merged by how often they come in these.
        folder: gets what `Tokenizer` reads.
        most: tokens of the alphabet and of what is merged from it.

    Returns:
        The vocabulary's size.
    """
    from tokenizers import Tokenizer as Learner
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    start, end, word_end = "<|startoftext|>", "<|endoftext|>", "</w>"
    learner = Learner(models.BPE(end_of_word_suffix=word_end, continuing_subword_prefix="", unk_token=end))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = [f"{letter}{word_end}" for letter in alphabet]
    # As "special tokens" these letters are numbered first; their own numbers, which decide between equally frequent
    # pairs, are random.
    trainer = trainers.BpeTrainer(
        vocab_size=most + len(letters),
        initial_alphabet=alphabet,
        special_tokens=letters,
        end_of_word_suffix=word_end,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    learned = json.loads(learner.to_str())["model"]
    tokens = list(dict.fromkeys([*alphabet, *letters, *learned["vocab"], start, end]))
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": "!"}
    merges = "\n".join(" ".join(pair) for pair in learned["merges"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "vocab.json": json.dumps({token: index for index, token in enumerate(tokens)}),
        "merges.txt": f"#version: 0.2\n{merges}",
        "tokenizer_config.json": json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}),
    }.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return len(tokens)
