"""Grounding DINO finds what a label names in frame 0, SAM 2 segments it and tracks it through the clip.

In the place of SAM-Track (arXiv 2305.06558), which the paper used. Grounding DINO: Liu et al., ECCV 2024; SAM 2: Ravi
et al., ICLR 2025.
"""

import math
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare import sam2
from magdiff_jax.data.prepare.frames import FramesAhead
from magdiff_jax.data.prepare.models import devices, find, load, pin, place, stack
from magdiff_jax.data.prepare.shared import Shared
from magdiff_jax.data.prepare.stages import Box, Segmentation
from magdiff_jax.media.segment import check_box

_DETECTORS = ("grounding-dino", "mm-grounding-dino")
# Pictures in a batch of the detector.
_MOST = 4


class _Found(NamedTuple):
    """What the detector finds in a picture; corners x, y, x, y are in pixels."""

    corners: list[list[float]]
    scores: list[float]
    phrases: list[str]
    best: float  # the greatest score, whether it reaches the threshold or not


class _Detection(NamedTuple):
    """The best box in a picture; None where none reaches the thresholds, and then `score` is the best there was."""

    box: Box | None
    score: float
    phrase: str


class GroundedSam2:
    """Segments by a label with Grounding DINO and SAM 2.

    Threads may share it. Frames in which it looks for labels make batches where they have one size, which changes what
    is found by rounding only; while one clip is tracked the others' frames are prepared.

    Args:
        detector: Grounding DINO; a folder, or its name on the model hub; with or without a revision (see `revisions`).
        tracker: SAM 2 video; likewise.
        box_threshold: least score of a box, 0 to 1.
        text_threshold: least score of a word of the label for a box to show it, 0 to 1.
        device: as `models.devices`.
        dtype: as `models.place`, of the tracker; the detector, which sees one frame only, always has float32.

    Raises:
        ConfigError: no such device or type, or a threshold out of range.
        UserError: a model or PyTorch is missing, or a model has another revision.
    """

    models: ClassVar = {
        "detector": lambda model: pin(model, _DETECTORS),
        "tracker": lambda model: pin(model, sam2.TYPES),
    }

    def __init__(
        self,
        detector: str = "IDEA-Research/grounding-dino-base",
        tracker: str = "facebook/sam2.1-hiera-large",
        box_threshold: float = 0.35,
        text_threshold: float = 0.25,
        device: str | Sequence[str] | None = None,
        dtype: str | None = None,
    ) -> None:
        for key, value in (("box_threshold", box_threshold), ("text_threshold", text_threshold)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{key} = {value!r}: must be a number from 0 to 1")
        self.name = f"grounded_sam2:{detector}+{tracker}"
        self._detector_name, self._tracker_name = detector, tracker
        places = devices(device)
        place(places[0], dtype)  # a mistake in them is told now, not by the first clip
        self._preparation = sam2.Preparation(tracker, find(tracker, sam2.TYPES))
        folder = find(detector, _DETECTORS)
        self._processor = _load_processor(detector, folder)
        # Tokenizers do not take two calls at a time.
        self._turn = threading.Lock()
        self._detect: Shared[_Query, _Found] = Shared(
            partial(_Detector, detector, folder, box_threshold, text_threshold),
            places,
            _Detector.detect,
            _MOST,
            alike=lambda query: tuple(query.inputs["pixel_values"].shape),
        )
        self._track: Shared[sam2.Prepared, Bool[np.ndarray, "_frame _height _width"]] = Shared(
            partial(_make_tracker, tracker, dtype), places, _track
        )

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation:
        """As `stages.Segmenter`; a box that is given is taken instead of looking for the label.

        Raises:
            UserError: the box does not lie within the frame, or a model cannot be loaded.
        """
        provenance: dict[str, Any] = {"model": self._tracker_name}
        if box is None:
            found = self._find(frames[0], label)
            box = found.box
            provenance |= {"detector": self._detector_name, "score": found.score, "phrase": found.phrase}
            if box is None:
                return Segmentation(None, provenance)
        height, width = frames.shape[1:3]
        check_box(box, height, width)
        masks = self._track(sam2.Prepared(FramesAhead(frames, self._preparation.resized), (height, width), box))
        return Segmentation(masks if masks.any() else None, provenance | {"box": list(box)})

    def _find(self, frame: UInt8[np.ndarray, "height width 3"], label: str) -> _Detection:
        # In lower case and ended by a full stop, as the detector was trained; one within the label would part it.
        prompt = label.lower().replace(".", " ").strip() + "."
        with self._turn:
            inputs = dict(self._processor(text=prompt, return_tensors="pt"))
        inputs |= self._processor(images=frame, return_tensors="pt")
        height, width = frame.shape[:2]
        found = self._detect(_Query(inputs, (height, width)))
        detections = [
            _Detection(_whole_pixels(corners, height, width), score, phrase)
            # Not strict: where there is no box, there is still one phrase, an empty one.
            for corners, score, phrase in zip(found.corners, found.scores, found.phrases, strict=False)
            if phrase
        ]
        if not detections:
            return _Detection(None, found.best, "")
        return max(detections, key=lambda detection: (detection.score, _area(detection.box)))


class _Query(NamedTuple):
    """A picture and a text as the detector takes them, and the picture's height and width."""

    inputs: dict[str, Any]
    size: tuple[int, int]


class _Detector:
    """Grounding DINO on one device."""

    def __init__(self, model: str, folder: Path, box_threshold: float, text_threshold: float, device: str) -> None:
        import torch
        from transformers import AutoModelForZeroShotObjectDetection

        self._device, _ = place(device, None)
        self._thresholds = {"threshold": box_threshold, "text_threshold": text_threshold}
        self._model = load(
            model,
            lambda: (
                AutoModelForZeroShotObjectDetection.from_pretrained(folder, dtype=torch.float32).eval().to(self._device)
            ),
        )
        self._processor = _load_processor(model, folder)

    def detect(self, batch: list[_Query]) -> list[_Found]:
        """What it finds in each of some pictures of one size. Shorter texts are filled up, which it does not see.

        Pictures of other sizes would be filled up too, and that it does see: its anchors lie elsewhere then.
        """
        import torch

        filler = {"input_ids": self._processor.tokenizer.pad_token_id}
        inputs = {
            name: torch.cat([query.inputs[name] for query in batch])
            if name.startswith("pixel")
            else stack([query.inputs[name] for query in batch], filler.get(name, 0), left=False)
            for name in batch[0].inputs
        }
        with torch.inference_mode():
            outputs = self._model(**{name: value.to(self._device) for name, value in inputs.items()})
        found = self._processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], **self._thresholds, target_sizes=[query.size for query in batch]
        )
        best = outputs.logits.sigmoid().amax((1, 2)).tolist()
        return [
            _Found(one["boxes"].tolist(), one["scores"].tolist(), one["text_labels"], score)
            for one, score in zip(found, best, strict=True)
        ]


def _load_processor(model: str, folder: Path) -> Any:
    from transformers import AutoImageProcessor, AutoTokenizer, GroundingDinoProcessor

    # Pillow resizes the same on all machines, with and without torchvision.
    return load(
        model,
        lambda: GroundingDinoProcessor(
            AutoImageProcessor.from_pretrained(folder, backend="pil"), AutoTokenizer.from_pretrained(folder)
        ),
    )


def _make_tracker(name: str, dtype: str | None, device: str) -> sam2.Sam2Tracker:
    return sam2.Sam2Tracker(name, place(device, dtype))


def _track(tracker: sam2.Sam2Tracker, clips: list[sam2.Prepared]) -> list[Bool[np.ndarray, "_frame _height _width"]]:
    return [np.stack(list(tracker.follow_prepared(clip))) for clip in clips]


def _whole_pixels(corners: list[float], height: int, width: int) -> Box:
    """The smallest box of whole pixels around these corners (x, y, x, y) within the frame."""
    left, top = (min(max(math.floor(at), 0), side - 1) for at, side in zip(corners[:2], (width, height), strict=True))
    right, bottom = (min(math.ceil(at), side) for at, side in zip(corners[2:], (width, height), strict=True))
    return left, top, max(right - left, 1), max(bottom - top, 1)


def _area(box: Box | None) -> int:
    return box[2] * box[3] if box else 0
