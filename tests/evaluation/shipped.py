"""Measures the weights that come along on 20 cases, in processes as their users run them.

`python tests/evaluation/shipped.py > tests/evaluation/shipped.json`, after other weights have come.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from magdiff_jax.evaluation import GUIDANCE_SCALE

# Fewer steps than a user takes: the figures are nearly those of more, and most of the time goes into them.
CASES, STEPS = "20", "10"
ROOT = Path(__file__).parents[2]


def run(*command: str) -> str:
    # Half of the time is compiling and half computing: optimised, but without the emitters that take longest.
    flags = "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
    environment = {**os.environ, "XLA_FLAGS": flags}
    command = (sys.executable, *command)
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def measure(folder: Path) -> dict[str, Any]:
    """Mean figures by task, and the model's fingerprint."""
    given = ("--cases", CASES, "--batch", CASES, "--steps", STEPS, "--out", str(folder / "results"))
    run("-m", "magdiff_jax.evaluate", "--suite", "miniature", *given)
    results = json.loads((folder / "results/results.json").read_text())
    tasks = {
        task: {figure["name"]: figure["mean"] for figure in results[task]["figures"]}
        for task in ("generation", "editing")
    }
    swapped = json.loads(run("tests/evaluation/swapped.py", CASES, STEPS, str(GUIDANCE_SCALE)))
    return {"model": results["model"], **tasks, "swapped": swapped}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as beside:
        print(json.dumps(measure(Path(beside)), indent=1))
