"""The whole suite of the weights that come along: the figures of their card, which stands beside them."""

import json
from pathlib import Path

import pytest

from tests.evaluation.shipped import run

pytestmark = pytest.mark.campaign

# The card's 95 % intervals, by task.
INTERVALS = {
    "generation": {
        "identity/pixels": (0.46, 0.59),
        "identity/clip": (0.21, 0.32),
        "nearer/pixels": (0.90, 0.94),
        "motion": (0.82, 0.91),
        "colour": (0.99, 1.00),
        "texture": (0.73, 0.84),
        "consistency/pixels": (0.83, 0.87),
    },
    "editing": {
        "identity/pixels": (0.94, 0.99),
        "identity/clip": (0.57, 0.70),
        "nearer/pixels": (1.00, 1.00),
        "motion": (1.00, 1.00),
        "colour": (0.99, 1.00),
        "texture": (0.73, 0.84),
        "psnr": (18.1, 18.7),
        "track_error": (0.4, 0.4),
        "consistency/pixels": (0.93, 0.94),
    },
}


def test_figures_are_those_of_the_card(tmp_path: Path) -> None:
    run("-m", "magdiff_jax.evaluate", "--suite", "miniature", "--out", str(tmp_path / "results"))
    results = json.loads((tmp_path / "results/results.json").read_text())
    for task, intervals in INTERVALS.items():
        means = {figure["name"]: figure["mean"] for figure in results[task]["figures"]}
        for name, (low, high) in intervals.items():
            # The card has two digits, or one of what is not a share.
            rounded = round(means[name], 1 if name in ("psnr", "track_error") else 2)
            assert low <= rounded <= high, (task, name, means[name])
