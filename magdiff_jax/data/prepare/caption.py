"""BLIP-2, which says what the subject of a picture is. Li et al., ICML 2023 (arXiv 2301.12597)."""

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.data.prepare.models import find, load, place

# An answer names the subject; what follows is chatter.
_MOST_TOKENS = 20


class Blip2:
    """Answers questions on a picture with BLIP-2, with an OPT or a Flan-T5 language model. Greedy: no randomness.

    Args:
        model: folder, or name on the model hub.
        device: as `models.place`.
        dtype: as `models.place`.

    Raises:
        ConfigError: no such device or type.
        UserError: the model or PyTorch is missing.
    """

    def __init__(
        self, model: str = "Salesforce/blip2-opt-2.7b", device: str | None = None, dtype: str | None = None
    ) -> None:
        self.name = f"blip2:{model}"
        self._place = place(device, dtype)
        folder = find(model, ("blip-2",))
        from transformers import AutoImageProcessor, AutoTokenizer, Blip2ForConditionalGeneration, Blip2Processor

        self._model = load(
            model, lambda: Blip2ForConditionalGeneration.from_pretrained(folder, dtype=self._place.dtype).eval()
        ).to(self._place.device)
        # Pillow resizes the same on all machines, with and without torchvision.
        self._processor = load(
            model,
            lambda: Blip2Processor(
                AutoImageProcessor.from_pretrained(folder, backend="pil"),
                AutoTokenizer.from_pretrained(folder),
                num_query_tokens=self._model.config.num_query_tokens,
            ),
        )

    def answer(self, question: str, frame: UInt8[np.ndarray, "height width 3"]) -> str:
        """The answer's first line, without spaces around it; may be empty."""
        import torch

        # The form of question that BLIP-2 was evaluated with (the paper's section 4.1).
        prompt = f"Question: {question} Answer:"
        inputs = self._processor(images=frame, text=prompt, return_tensors="pt").to(*self._place)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=_MOST_TOKENS)[0]
        if self._model.config.use_decoder_only_language_model:
            tokens = tokens[inputs["input_ids"].shape[1] :]
        lines = self._processor.decode(tokens, skip_special_tokens=True).strip().splitlines()
        return lines[0].strip() if lines else ""
