"""SAM 2 segments what a box encloses and tracks it through a clip (Ravi et al., ICLR 2025)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.data.clip import Frames
from magdiff_jax.data.prepare.frames import FramesAhead, LazyFrames, forget
from magdiff_jax.data.prepare.models import Placement, find, load
from magdiff_jax.data.prepare.stages import Box
from magdiff_jax.media.segment import check_box

TYPES = ("sam2_video",)


class Preparation:
    """Pictures made into what SAM 2 takes: resized by the CPU, in any thread, and normalised where the network is.

    Normalising takes a CPU twice as long as resizing, and a GPU next to nothing.

    Args:
        name: of the model, for messages.
        folder: of the model, as `models.find` gives it.

    Raises:
        UserError: the folder holds no settings of a processor.
    """

    def __init__(self, name: str, folder: Path) -> None:
        from transformers import ViTImageProcessorPil

        # SAM 2's own needs torchvision; this one reads the same settings and resizes pictures in the same way.
        self._processor = load(name, lambda: ViTImageProcessorPil.from_pretrained(folder))

    def resized(self, frame: UInt8[np.ndarray, "height width 3"]) -> Any:
        """A frame → a tensor [3, `size`], 0 to 255, uint8, on the CPU."""
        return self._processor(frame, return_tensors="pt", do_rescale=False, do_normalize=False).pixel_values[0]

    def normalised(self, pixels: Any, place: Placement) -> Any:
        """What `resized` gives → what the network takes, of the same shape."""
        import torch

        mean, std = (
            torch.tensor(values, device=place.device)[:, None, None]
            for values in (self._processor.image_mean, self._processor.image_std)
        )
        return ((pixels.to(place.device) * self._processor.rescale_factor - mean) / std).to(place.dtype)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a resized frame."""
        return self._processor.size["height"], self._processor.size["width"]


class Prepared(NamedTuple):
    """What is to be tracked.

    Attributes:
        frames: resized (`Preparation.resized`), by number.
        size: height and width of the clip.
        box: x, y, width, height in pixels of the clip, in frame 0.
    """

    frames: LazyFrames | FramesAhead
    size: tuple[int, int]
    box: Box


class Sam2Tracker:
    """A SAM 2 video model, for one thread.

    Args:
        name: a folder, or a name on the model hub; with or without a revision (see `revisions`).
        place: where it computes, see `models.place`.

    Raises:
        UserError: the model is missing, or has another revision.
    """

    def __init__(self, name: str, place: Placement) -> None:
        self._place = place
        folder = find(name, TYPES)
        self._preparation = Preparation(name, folder)
        from transformers import Sam2VideoModel

        self._model = load(
            name, lambda: Sam2VideoModel.from_pretrained(folder, dtype=place.dtype).eval().to(place.device)
        )

    def track(self, frames: Frames, box: Box) -> Bool[np.ndarray, "frame height width"]:
        """Where what the box (x, y, width, height; in pixels) encloses in frame 0 is, in all frames.

        Raises:
            UserError: the box does not lie within the frame.
        """
        return np.stack(list(self.follow(frames, box)))

    def follow(self, frames: Any, box: Box) -> Iterator[Bool[np.ndarray, "height width"]]:
        """The same, frame by frame; `frames` are asked for by number, one after the other."""
        height, width = frames[0].shape[:2]
        check_box(box, height, width)
        yield from self.follow_prepared(Prepared(LazyFrames(frames, self._preparation.resized), (height, width), box))

    def follow_prepared(self, clip: Prepared) -> Iterator[Bool[np.ndarray, "height width"]]:
        """The same of frames that are resized already."""
        import torch
        from transformers import Sam2VideoInferenceSession

        height, width = clip.size
        x, y, box_width, box_height = clip.box
        device, dtype = self._place
        session: Any = Sam2VideoInferenceSession(
            video_height=height,
            video_width=width,
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=dtype,
        )
        session.processed_frames = LazyFrames(clip.frames, self._normalised)
        subject = session.obj_id_to_idx(1)
        corners = torch.tensor([[x, y], [x + box_width, y + box_height]], dtype=torch.float32)
        rows, columns = self._preparation.size
        scale = torch.tensor([columns / width, rows / height])
        # SAM's labels of points: 2 and 3 are the two corners of a box.
        points = {"point_coords": (corners * scale)[None, None], "point_labels": torch.tensor([[[2, 3]]])}
        session.add_point_inputs(subject, 0, points)
        session.obj_with_new_inputs = [1]

        config = self._model.config
        memory = max(config.num_maskmem, config.max_object_pointers_in_encoder)
        for output in self._model.propagate_in_video_iterator(session, start_frame_idx=0):
            scores = torch.nn.functional.interpolate(
                output.pred_masks.float(), (height, width), mode="bilinear", align_corners=False
            )
            forget(session, output.frame_idx - memory)
            yield (scores[0, 0] > 0).cpu().numpy()

    def _normalised(self, pixels: Any) -> Any:
        return self._preparation.normalised(pixels, self._place)
