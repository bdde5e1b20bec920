"""A subject mask from one box: GrabCut on the first frame, carried on by optical flow.

GrabCut: Rother et al., SIGGRAPH 2004. Dense inverse search flow: Kroeger et al., ECCV 2016.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from magdiff_jax.errors import UserError

Box = tuple[int, int, int, int]

# GrabCut runs on a copy of at most this many pixels a side: its time grows faster than the area.
_LONGEST_SIDE = 320
# Optical flow needs patches of 8x8 pixels with some room.
_SHORTEST_SIDE = 16


def parse_box(text: str) -> Box:
    """Parses "x,y,width,height" in whole pixels, from the upper left corner.

    Raises:
        UserError: it is not four whole numbers.
    """
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f'box "{text}": give four whole numbers, x,y,width,height, such as 40,30,120,200') from None
    return x, y, width, height


def segment_box(frames: UInt8[np.ndarray, "frame height width 3"], box: Box) -> Bool[np.ndarray, "frame height width"]:
    """The masks of `follow_box` for all frames of a clip."""
    return np.stack(list(follow_box(frames, box)))


def follow_box(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]], box: Box
) -> Iterator[Bool[np.ndarray, "height width"]]:
    """Segments what the box (x, y, width, height; in pixels) encloses in the first frame, frame by frame.

    The same input gives the same masks. Where GrabCut finds nothing plausible, a frame keeps the
    mask that motion carried over, and the first one the box. A mask is empty once its subject has
    left the frame.

    Raises:
        UserError: the box does not lie within the frame.
    """
    import cv2

    mask, previous = None, None
    for frame in frames:
        height, width = frame.shape[:2]
        scale = min(1.0, _LONGEST_SIDE / max(height, width))
        size = tuple(max(_SHORTEST_SIDE, round(side * scale)) for side in (width, height))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        if mask is None or previous is None:
            check_box(box, height, width)
            mask = _inside(box, height, width, size)
            labels = np.where(mask, cv2.GC_PR_FGD, cv2.GC_BGD)
            mask = _grab_cut(small, labels, fallback=mask, least=0.05, most=1.0)
        else:
            mask = _follow(mask, previous, small)
            mask = _grab_cut(small, _prior(mask), fallback=mask, least=0.7, most=1.4)
        previous = small
        smooth = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        yield smooth >= 0.5


def check_box(box: Box, height: int, width: int) -> None:
    """Raises UserError where a box does not lie within a frame."""
    x, y, box_width, box_height = box
    if min(x, y) < 0 or min(box_width, box_height) < 1 or x + box_width > width or y + box_height > height:
        raise UserError(f"box {x},{y},{box_width},{box_height} does not lie within the frame of {width}x{height}")


def _inside(box: Box, height: int, width: int, size: Sequence[int]) -> Bool[np.ndarray, "_height _width"]:
    """The box in a frame made smaller to `size`, its width and height."""
    import cv2

    x, y, box_width, box_height = box
    inside = np.zeros((height, width), np.uint8)
    inside[y : y + box_height, x : x + box_width] = 1
    return cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST).astype(bool)


def _follow(
    mask: Bool[np.ndarray, "height width"],
    before: UInt8[np.ndarray, "height width 3"],
    after: UInt8[np.ndarray, "height width 3"],
) -> Bool[np.ndarray, "height width"]:
    """Moves the mask of frame `before` to frame `after`."""
    import cv2

    # From `after` back to `before`: where each new pixel came from.
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
        cv2.cvtColor(after, cv2.COLOR_RGB2GRAY),
        cv2.cvtColor(before, cv2.COLOR_RGB2GRAY),
        np.zeros((*mask.shape, 2), np.float32),
    )
    rows, columns = np.indices(mask.shape, dtype=np.float32)
    moved = cv2.remap(
        mask.astype(np.float32),
        columns + flow[..., 0],
        rows + flow[..., 1],
        interpolation=cv2.INTER_LINEAR,
    )
    return moved >= 0.5


def _prior(mask: Bool[np.ndarray, "height width"]) -> np.ndarray:
    """Labels for GrabCut: sure well inside and well outside of the mask, open along its edge."""
    import cv2

    radius = max(2, round(0.06 * math.sqrt(mask.sum())))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    core = cv2.erode(mask.astype(np.uint8), kernel)
    reach = cv2.dilate(mask.astype(np.uint8), kernel)
    labels = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    return np.where(core, cv2.GC_FGD, np.where(reach, labels, cv2.GC_BGD))


def _grab_cut(
    image: UInt8[np.ndarray, "height width 3"],
    labels: np.ndarray,
    fallback: Bool[np.ndarray, "height width"],
    least: float,
    most: float,
) -> Bool[np.ndarray, "height width"]:
    """Refines `labels`; gives `fallback` unless the area is between `least` and `most` of its."""
    import cv2

    labels = labels.astype(np.uint8)
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(image, labels, (0, 0, 0, 0), *colours, 5, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return fallback  # too few pixels of subject or of background to model
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    found = _without_specks(found, least=0.05 * found.sum())
    found = ~_without_specks(~found, least=0.01 * found.sum())
    plausible = least * fallback.sum() <= found.sum() <= most * fallback.sum()
    return found if plausible else fallback


def _without_specks(mask: Bool[np.ndarray, "height width"], least: float) -> Bool[np.ndarray, "height width"]:
    """Smooths the mask's edge and drops its connected parts of fewer than `least` pixels."""
    import cv2

    smooth = cv2.medianBlur(mask.astype(np.uint8), 5)
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(smooth)
    keep = statistics[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False  # part 0 is what the mask leaves out
    return keep[np.asarray(parts, dtype=int)]
