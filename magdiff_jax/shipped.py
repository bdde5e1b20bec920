"""The model that comes with the package: MagDiff in miniature, with its card."""

from pathlib import Path

MINIATURE = Path(__file__).parent / "miniature"
