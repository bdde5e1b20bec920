"""Grounding DINO finds what a label names in frame 0, SAM 2 segments it and tracks it through the clip.

In the place of SAM-Track (arXiv 2305.06558), which the paper used. Grounding DINO: Liu et al., ECCV 2024; SAM 2: Ravi
et al., ICLR 2025.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare.models import LazyFrames, find, forget, load, place
from magdiff_jax.data.prepare.stages import Box, Segmentation
from magdiff_jax.errors import UserError


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
        tracker_folder = find(tracker, ("sam2_video",))
        import torch
        from transformers import (
            AutoImageProcessor,
            AutoModelForZeroShotObjectDetection,
            AutoTokenizer,
            GroundingDinoProcessor,
            Sam2VideoModel,
            ViTImageProcessorPil,
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
        self._tracker = load(
            tracker, lambda: Sam2VideoModel.from_pretrained(tracker_folder, dtype=self._place.dtype).eval()
        ).to(self._place.device)
        # SAM 2's own needs torchvision; this one reads the same settings and prepares pictures in the same way.
        self._tracker_processor = load(tracker, lambda: ViTImageProcessorPil.from_pretrained(tracker_folder))

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation:
        """As `stages.Segmenter`; a box that is given is taken instead of looking for the label.

        Raises:
            UserError: the box does not lie within the frame.
        """
        height, width = frames.shape[1:3]
        provenance: dict[str, Any] = {"model": self._tracker_name}
        if box is None:
            found = self._detect(frames[0], label)
            box = found.box
            provenance |= {"detector": self._detector_name, "score": found.score, "phrase": found.phrase}
            if box is None:
                return Segmentation(None, provenance)
        x, y, box_width, box_height = box
        if min(x, y) < 0 or min(box_width, box_height) < 1 or x + box_width > width or y + box_height > height:
            raise UserError(f"box {x},{y},{box_width},{box_height} does not lie within the frame of {width}x{height}")
        masks = self._track(frames, box)
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

    def _track(self, frames: Frames, box: Box) -> Bool[np.ndarray, "frame height width"]:
        import torch
        from transformers import Sam2VideoInferenceSession

        height, width = frames.shape[1:3]
        device, dtype = self._place
        session: Any = Sam2VideoInferenceSession(
            video_height=height,
            video_width=width,
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=dtype,
        )
        session.processed_frames = LazyFrames(frames, self._prepare)
        subject = session.obj_id_to_idx(1)
        x, y, box_width, box_height = box
        corners = torch.tensor([[x, y], [x + box_width, y + box_height]], dtype=torch.float32)
        size = self._tracker_processor.size
        scale = torch.tensor([size["width"] / width, size["height"] / height])
        # SAM's labels of points: 2 and 3 are the two corners of a box.
        points = {"point_coords": (corners * scale)[None, None], "point_labels": torch.tensor([[[2, 3]]])}
        session.add_point_inputs(subject, 0, points)
        session.obj_with_new_inputs = [1]

        config = self._tracker.config
        memory = max(config.num_maskmem, config.max_object_pointers_in_encoder)
        masks = np.zeros(frames.shape[:3], bool)
        for output in self._tracker.propagate_in_video_iterator(session, start_frame_idx=0):
            scores = torch.nn.functional.interpolate(
                output.pred_masks.float(), (height, width), mode="bilinear", align_corners=False
            )
            masks[output.frame_idx] = (scores[0, 0] > 0).cpu().numpy()
            forget(session, output.frame_idx - memory)
        return masks

    def _prepare(self, frame: UInt8[np.ndarray, "height width 3"]) -> Any:
        return self._tracker_processor(frame, return_tensors="pt").pixel_values[0].to(*self._place)


def _whole_pixels(corners: list[float], height: int, width: int) -> Box:
    """The smallest box of whole pixels around these corners (x, y, x, y) within the frame."""
    left, top = (min(max(math.floor(at), 0), side - 1) for at, side in zip(corners[:2], (width, height), strict=True))
    right, bottom = (min(math.ceil(at), side) for at, side in zip(corners[2:], (width, height), strict=True))
    return left, top, max(right - left, 1), max(bottom - top, 1)


def _area(box: Box | None) -> int:
    return box[2] * box[3] if box else 0
