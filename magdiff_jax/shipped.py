"""The models that come with the package, each with its card."""

from pathlib import Path

# MagDiff in miniature, and the text-to-video model that its last stage began from.
MINIATURE, MINIATURE_BASE = (Path(__file__).parent / name for name in ("miniature", "miniature_base"))
