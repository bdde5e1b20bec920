"""Networks compared with recordings of all kinds that are made anew, so that no fixture can be out of date."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign
ROOT = Path(__file__).parents[2]


def test_fresh_recordings(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    record = [sys.executable, "tests/fixtures/record_extra.py", "--out", str(tmp_path)]
    subprocess.run(record, cwd=ROOT, check=True, capture_output=True)
    compare = [sys.executable, "-m", "pytest", "tests/parity", "--numprocesses=0", "-m", "not campaign"]
    environment = {**os.environ, "MAGDIFF_FIXTURES": str(tmp_path)}
    done = subprocess.run(compare, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
