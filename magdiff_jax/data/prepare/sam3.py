"""SAM 3, which segments and tracks what a text names, in one model (arXiv 2511.16719)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare.frames import FramesAhead, forget
from magdiff_jax.data.prepare.models import devices, find, load, pin, place
from magdiff_jax.data.prepare.shared import Shared
from magdiff_jax.data.prepare.stages import Box, Segmentation
from magdiff_jax.errors import UserError

_TYPES = ("sam3_video",)


class Sam3:
    """Segments by a label with SAM 3.

    Threads may share it: while one clip is tracked the others' frames are prepared.

    Args:
        model: folder, or name on the model hub; with or without a revision (see `revisions`).
        threshold: least score with which an object is found, 0 to 1.
        device: as `models.devices`.
        dtype: as `models.place`.

    Raises:
        ConfigError: no such device or type, or a threshold out of range.
        UserError: the model, PyTorch or torchvision is missing, or the model has another revision.
    """

    models: ClassVar = {"model": lambda model: pin(model, _TYPES)}

    def __init__(
        self,
        model: str = "facebook/sam3",
        threshold: float = 0.7,
        device: str | Sequence[str] | None = None,
        dtype: str | None = None,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold = {threshold!r}: must be a number from 0 to 1")
        self.name = f"sam3:{model}"
        self._model_name, self._threshold = model, threshold
        places = devices(device)
        self._dtype = place(places[0], dtype).dtype
        folder = find(model, _TYPES)
        _require_torchvision()
        self._processor = _load_processor(model, folder)
        self._track: Shared[_Query, _Track] = Shared(
            partial(_Network, model, folder, threshold, dtype), places, _Network.track
        )

    def segment(self, frames: Frames, label: str, box: Box | None) -> Segmentation:
        """As `stages.Segmenter`; of several objects, the one with the best score in the first frame that has any.

        `box` is not used: the model finds the subject itself.

        Raises:
            UserError: the model cannot be loaded.
        """
        height, width = frames.shape[1:3]
        found = self._track(_Query(FramesAhead(frames, self._prepare), (height, width), label))
        provenance = {"model": self._model_name, "threshold": self._threshold, **found.provenance}
        return Segmentation(found.masks if found.masks.any() else None, provenance)

    def _prepare(self, frame: UInt8[np.ndarray, "height width 3"]) -> Any:
        return self._processor(images=frame, return_tensors="pt").pixel_values[0].to(self._dtype)


class _Query(NamedTuple):
    """A clip's prepared frames, its height and width, and what to look for."""

    frames: FramesAhead
    size: tuple[int, int]
    label: str


class _Track(NamedTuple):
    """The subject's masks, and its score, box and first frame where there is one."""

    masks: Bool[np.ndarray, "_frame _height _width"]
    provenance: dict[str, Any]


class _Network:
    """The network on one device."""

    def __init__(self, model: str, folder: Path, threshold: float, dtype: str | None, device: str) -> None:
        from transformers import Sam3VideoModel

        self._place = place(device, dtype)
        self._model = load(
            model,
            lambda: Sam3VideoModel.from_pretrained(folder, dtype=self._place.dtype).eval().to(self._place.device),
        )
        self._model.new_det_thresh = threshold
        self._model.score_threshold_detection = min(threshold, self._model.score_threshold_detection)
        self._processor = _load_processor(model, folder)

    def track(self, clips: list[_Query]) -> list[_Track]:
        return [self._track(*clip) for clip in clips]

    def _track(self, frames: FramesAhead, size: tuple[int, int], label: str) -> _Track:
        device, dtype = self._place
        session = self._processor.init_video_session(inference_device=device, dtype=dtype)
        session.video_height, session.video_width = size
        session.processed_frames = frames
        self._processor.add_text_prompt(session, label)

        config = self._model.config.tracker_config
        memory = max(config.num_maskmem, config.max_object_pointers_in_encoder)
        masks = np.zeros((len(frames), *size), bool)
        provenance: dict[str, Any] = {}
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
        return _Track(masks, provenance)


def _load_processor(model: str, folder: Path) -> Any:
    from transformers import Sam3VideoProcessor

    return load(model, lambda: Sam3VideoProcessor.from_pretrained(folder))


def _require_torchvision() -> None:
    try:
        import torchvision  # noqa: F401
    # Builds of torch and torchvision that do not belong together fail with a RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "SAM 3 needs a torchvision that belongs to the installed torch; install both anew, from one index: "
            "pip install torch torchvision"
        ) from error
