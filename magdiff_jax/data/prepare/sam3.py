"""SAM 3, which segments and tracks what a text names, in one model (arXiv 2511.16719)."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare.models import LazyFrames, find, forget, load, place
from magdiff_jax.data.prepare.stages import Box, Segmentation
from magdiff_jax.errors import UserError


class Sam3:
    """Segments by a label with SAM 3.

    Args:
        model: folder, or name on the model hub.
        threshold: least score with which an object is found, 0 to 1.
        device: as `models.place`.
        dtype: as `models.place`.

    Raises:
        ConfigError: no such device or type, or a threshold out of range.
        UserError: the model, PyTorch or torchvision is missing.
    """

    def __init__(
        self,
        model: str = "facebook/sam3",
        threshold: float = 0.7,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold = {threshold!r}: must be a number from 0 to 1")
        self.name = f"sam3:{model}"
        self._model_name, self._threshold = model, threshold
        self._place = place(device, dtype)
        folder = find(model, ("sam3_video",))
        _require_torchvision()
        from transformers import Sam3VideoModel, Sam3VideoProcessor

        self._model = load(model, lambda: Sam3VideoModel.from_pretrained(folder, dtype=self._place.dtype).eval()).to(
            self._place.device
        )
        self._model.new_det_thresh = threshold
        self._model.score_threshold_detection = min(threshold, self._model.score_threshold_detection)
        self._processor = load(model, lambda: Sam3VideoProcessor.from_pretrained(folder))

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation:
        """As `stages.Segmenter`; of several objects, the one with the best score in the first frame that has any.

        `box` is not used: the model finds the subject itself.
        """
        height, width = frames.shape[1:3]
        device, dtype = self._place
        session = self._processor.init_video_session(inference_device=device, dtype=dtype)
        session.video_height, session.video_width = height, width
        session.processed_frames = LazyFrames(frames, self._prepare)
        self._processor.add_text_prompt(session, label)

        config = self._model.config.tracker_config
        memory = max(config.num_maskmem, config.max_object_pointers_in_encoder)
        masks = np.zeros(frames.shape[:3], bool)
        provenance: dict[str, Any] = {"model": self._model_name, "threshold": self._threshold}
        subject = None
        for output in self._model.propagate_in_video_iterator(session):
            found = self._processor.postprocess_outputs(session, output)
            objects = found["object_ids"].tolist()
            if subject is None and objects:
                best = int(found["scores"].argmax())
                subject = objects[best]
                left, top, right, bottom = (int(at) for at in found["boxes"][best].tolist())
                # The processor's corners are pixels, the last one included.
                around = [left, top, right - left + 1, bottom - top + 1]
                score = found["scores"][best].item()
                provenance |= {"score": score, "box": around, "first_frame": output.frame_idx}
            if subject in objects:
                masks[output.frame_idx] = found["masks"][objects.index(subject)].cpu().numpy()
            forget(session, output.frame_idx - memory)
        return Segmentation(masks if masks.any() else None, provenance)

    def _prepare(self, frame: UInt8[np.ndarray, "height width 3"]) -> Any:
        return self._processor(images=frame, return_tensors="pt").pixel_values[0].to(*self._place)


def _require_torchvision() -> None:
    try:
        import torchvision  # noqa: F401
    # Builds of torch and torchvision that do not belong together fail with a RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "SAM 3 needs a torchvision that belongs to the installed torch; install both anew, from one index: "
            "pip install torch torchvision"
        ) from error
