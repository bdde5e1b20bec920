"""Grounding DINO finds what a label names in frame 0, SAM 2 segments it and tracks it through the clip.

In the place of SAM-Track (arXiv 2305.06558), which the paper used. Grounding DINO: Liu et al., ECCV 2024; SAM 2: Ravi
et al., ICLR 2025.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare.models import find, load, place
from magdiff_jax.data.prepare.sam2 import Sam2Tracker
from magdiff_jax.data.prepare.stages import Box, Segmentation


class _Detection(NamedTuple):
    """The best box in a picture; None where none reaches the thresholds, and then `score` is the best there was."""

    box: Box | None
    score: float
    phrase: str


class GroundedSam2:
    """Segments by a label with Grounding DINO and SAM 2.

    Args:
        detector: Grounding DINO; a folder, or its name on the model hub.
        tracker: SAM 2 video; likewise.
        box_threshold: least score of a box, 0 to 1.
        text_threshold: least score of a word of the label for a box to show it, 0 to 1.
        device: as `models.place`.
        dtype: as `models.place`, of the tracker; the detector, which sees one frame only, always has float32.

    Raises:
        ConfigError: no such device or type, or a threshold out of range.
        UserError: a model or PyTorch is missing.
    """

    def __init__(
        self,
        detector: str = "IDEA-Research/grounding-dino-base",
        tracker: str = "facebook/sam2.1-hiera-large",
        box_threshold: float = 0.35,
        text_threshold: float = 0.25,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        for key, value in (("box_threshold", box_threshold), ("text_threshold", text_threshold)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{key} = {value!r}: must be a number from 0 to 1")
        self.name = f"grounded_sam2:{detector}+{tracker}"
        self._detector_name, self._tracker_name = detector, tracker
        self._box_threshold, self._text_threshold = box_threshold, text_threshold
        self._place = place(device, dtype)
        detector_folder = find(detector, ("grounding-dino", "mm-grounding-dino"))
        import torch
        from transformers import (
            AutoImageProcessor,
            AutoModelForZeroShotObjectDetection,
            AutoTokenizer,
            GroundingDinoProcessor,
        )

        detector_class = AutoModelForZeroShotObjectDetection
        self._detector = load(
            detector, lambda: detector_class.from_pretrained(detector_folder, dtype=torch.float32).eval()
        ).to(self._place.device)
        # Pillow resizes the same on all machines, with and without torchvision.
        self._detector_processor = load(
            detector,
            lambda: GroundingDinoProcessor(
                AutoImageProcessor.from_pretrained(detector_folder, backend="pil"),
                AutoTokenizer.from_pretrained(detector_folder),
            ),
        )
        self._tracker = Sam2Tracker(tracker, self._place)

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation:
        """As `stages.Segmenter`; a box that is given is taken instead of looking for the label.

        Raises:
            UserError: the box does not lie within the frame.
        """
        provenance: dict[str, Any] = {"model": self._tracker_name}
        if box is None:
            found = self._detect(frames[0], label)
            box = found.box
            provenance |= {"detector": self._detector_name, "score": found.score, "phrase": found.phrase}
            if box is None:
                return Segmentation(None, provenance)
        masks = self._tracker.track(frames, box)
        return Segmentation(masks if masks.any() else None, provenance | {"box": list(box)})

    def _detect(self, frame: UInt8[np.ndarray, "height width 3"], label: str) -> _Detection:
        import torch

        # In lower case and ended by a full stop, as the detector was trained; one within the label would part it.
        prompt = label.lower().replace(".", " ").strip() + "."
        inputs = self._detector_processor(images=frame, text=prompt, return_tensors="pt").to(self._place.device)
        with torch.inference_mode():
            outputs = self._detector(**inputs)
        found = self._detector_processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self._box_threshold,
            text_threshold=self._text_threshold,
            target_sizes=[frame.shape[:2]],
        )[0]
        detections = [
            _Detection(_whole_pixels(corners, *frame.shape[:2]), score, phrase)
            # Not strict: where there is no box, there is still one phrase, an empty one.
            for corners, score, phrase in zip(
                found["boxes"].tolist(), found["scores"].tolist(), found["text_labels"], strict=False
            )
            if phrase
        ]
        if not detections:
            return _Detection(None, outputs.logits.sigmoid().max().item(), "")
        return max(detections, key=lambda detection: (detection.score, _area(detection.box)))


def _whole_pixels(corners: list[float], height: int, width: int) -> Box:
    """The smallest box of whole pixels around these corners (x, y, x, y) within the frame."""
    left, top = (min(max(math.floor(at), 0), side - 1) for at, side in zip(corners[:2], (width, height), strict=True))
    right, bottom = (min(math.ceil(at), side) for at, side in zip(corners[2:], (width, height), strict=True))
    return left, top, max(right - left, 1), max(bottom - top, 1)


def _area(box: Box | None) -> int:
    return box[2] * box[3] if box else 0
