"""BLIP-2, which says what the subject of a picture is. Li et al., ICML 2023 (arXiv 2301.12597)."""

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.data.prepare.models import devices, find, load, pin, place, stack
from magdiff_jax.data.prepare.shared import Shared

_TYPES = ("blip-2",)
# An answer names the subject; what follows is chatter.
_MOST_TOKENS = 20
# Pictures in a batch.
_MOST = 16


class Blip2:
    """Answers questions on a picture with BLIP-2, with an OPT or a Flan-T5 language model. Greedy: no randomness.

    Threads may share it: their pictures make batches. The pictures beside one in a batch do not change its answer but
    by rounding: where two words are equally likely to the last digit of `dtype`, the other may be said.

    Args:
        model: folder, or name on the model hub; with or without a revision (see `revisions`).
        device: as `models.devices`.
        dtype: as `models.place`.

    Raises:
        ConfigError: no such device or type.
        UserError: the model or PyTorch is missing, or the model has another revision.
    """

    models: ClassVar = {"model": lambda model: pin(model, _TYPES)}

    def __init__(
        self,
        model: str = "Salesforce/blip2-opt-2.7b",
        device: str | Sequence[str] | None = None,
        dtype: str | None = None,
    ) -> None:
        self.name = f"blip2:{model}"
        places = devices(device)
        place(places[0], dtype)  # a mistake in them is told now, not by the first clip
        folder = find(model, _TYPES)
        from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, Blip2Processor

        # Pillow resizes the same on all machines, with and without torchvision.
        self._processor = load(
            model,
            lambda: Blip2Processor(
                AutoImageProcessor.from_pretrained(folder, backend="pil"),
                AutoTokenizer.from_pretrained(folder),
                num_query_tokens=AutoConfig.from_pretrained(folder).num_query_tokens,
            ),
        )
        # Tokenizers do not take two calls at a time.
        self._turn = threading.Lock()
        tokenizer = self._processor.tokenizer
        self._answer: Shared[Any, Any] = Shared(
            partial(_Network, model, folder, dtype, tokenizer.pad_token_id), places, _Network.answers, _MOST
        )

    def answer(self, question: str, frame: UInt8[np.ndarray, "height width 3"]) -> str:
        """The answer's first line, without spaces around it; may be empty.

        Raises:
            UserError: the model cannot be loaded.
        """
        # The form of question that BLIP-2 was evaluated with (the paper's section 4.1).
        prompt = f"Question: {question} Answer:"
        with self._turn:
            inputs = self._processor(images=frame, text=prompt, return_tensors="pt")
        tokens = self._answer(inputs)
        with self._turn:
            lines = self._processor.decode(tokens, skip_special_tokens=True).strip().splitlines()
        return lines[0].strip() if lines else ""


class _Network:
    """The network on one device."""

    def __init__(self, model: str, folder: Path, dtype: str | None, filler: int, device: str) -> None:
        from transformers import Blip2ForConditionalGeneration

        self._place = place(device, dtype)
        self._filler = filler
        self._model = load(
            model,
            lambda: (
                Blip2ForConditionalGeneration.from_pretrained(folder, dtype=self._place.dtype)
                .eval()
                .to(self._place.device)
            ),
        )

    def answers(self, batch: list[Any]) -> Any:
        """The tokens of each answer: [picture, token]."""
        import torch

        # On the left: a language model goes on where the question ends.
        tokens = stack([inputs["input_ids"] for inputs in batch], self._filler, left=True)
        mask = stack([inputs["attention_mask"] for inputs in batch], 0, left=True)
        pixels = torch.cat([inputs["pixel_values"] for inputs in batch])
        device, _ = self._place
        with torch.inference_mode():
            found = self._model.generate(
                pixel_values=pixels.to(*self._place),
                input_ids=tokens.to(device),
                attention_mask=mask.to(device),
                do_sample=False,
                num_beams=1,
                max_new_tokens=_MOST_TOKENS,
            )
        prompt = tokens.shape[1] if self._model.config.use_decoder_only_language_model else 0
        return found[:, prompt:].cpu()
