"""A decoded frame of a video as it is shown: its colours, its transparency, the shape of its pixels, which side is up.

HDR and wide gamuts become sRGB. PQ and HLG: ITU-R BT.2100; diffuse white: BT.2408; the matrices follow from the
primaries' chromaticities (BT.2020, SMPTE EG 432-1).
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from magdiff_jax.media.container import shown_size
from magdiff_jax.media.images import Picture

# Numbers of ITU-T H.273 for what a frame says of its colours.
_PQ, _HLG = 16, 18
_BT2020, _P3 = 9, 12
# Linear light of these primaries → that of sRGB; both have D65 for white.
_TO_SRGB = {
    _BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32),
    _P3: np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]], np.float32),
}
# What stands for diffuse white (BT.2408): of PQ in cd/m², of HLG as a share of the scene's light.
_WHITE_PQ, _WHITE_HLG = 203.0, 0.265


def is_hdr(frame: Any) -> bool:
    """Whether an `av.VideoFrame` holds more light than a usual screen shows."""
    return frame.color_trc in (_PQ, _HLG)


def to_picture(frame: Any, aspect: Fraction) -> Picture:
    """An `av.VideoFrame` in sRGB with square pixels, upright as its display matrix says; converted on one thread.

    HDR is mapped so that diffuse white becomes white, and what is brighter too: a face looks as it does beside it.
    HLG is taken as the scene's light, without the look that a screen of 1,000 cd/m² would add.

    Args:
        frame: decoded.
        aspect: width of a pixel by its height.
    """
    size = dict(zip(("width", "height"), shown_size(frame.width, frame.height, aspect), strict=True))
    if any(component.is_alpha for component in frame.format.components):
        rgba = _upright(frame.to_ndarray(format="rgba", threads=1, **size), frame)
        return Picture(rgba[..., :3].copy(), rgba[..., 3].copy())
    if is_hdr(frame) or frame.color_primaries in _TO_SRGB:
        rgb = _to_srgb(frame.to_ndarray(format="rgb48le", threads=1, **size), frame.color_trc, frame.color_primaries)
    else:
        rgb = frame.to_ndarray(format="rgb24", threads=1, **size)
    return Picture(np.ascontiguousarray(_upright(rgb, frame)), None)


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # Fixed-point [[a, b, u], [c, d, v], …]: column = a·x + c·y, row = b·x + d·y.
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype="<i4")[:5]
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _to_srgb(signal: np.ndarray, curve: int, primaries: int) -> UInt8[np.ndarray, "height width 3"]:
    light = _light(curve)[signal]
    if primaries in _TO_SRGB:
        light = light @ _TO_SRGB[primaries].T
    # Looked up, since a power for each pixel takes longer than all else; 4095 steps would show in the shadows.
    return _encoded()[np.round(np.clip(light, 0, 1) * 65535).astype(np.uint16)]


@cache
def _light(curve: int) -> Float[np.ndarray, "65536"]:
    """The light that each 16-bit value stands for; 1 is diffuse white."""
    signal = np.arange(65536) / 65535
    light = _CURVES.get(curve, _srgb)(signal)
    return light.astype(np.float32)


def _pq(signal: np.ndarray) -> np.ndarray:
    power = signal ** (1 / 78.84375)
    light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return 10000 / _WHITE_PQ * light ** (1 / 0.1593017578125)


def _hlg(signal: np.ndarray) -> np.ndarray:
    bright = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(signal <= 0.5, signal**2 / 3, bright) / _WHITE_HLG


def _srgb(signal: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1; what else SDR video uses is shown the same way."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


_CURVES: dict[int, Callable[[np.ndarray], np.ndarray]] = {_PQ: _pq, _HLG: _hlg}


@cache
def _encoded() -> UInt8[np.ndarray, "65536"]:
    """sRGB's 8-bit value for each share of the light, of 65535."""
    light = np.arange(65536) / 65535
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(signal * 255).astype(np.uint8)
