"""The notebooks run from top to bottom, but for their first cell, which installs what is installed here."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Every cell as it stands, but for how long it computes.
SHORTER = {
    "steps=25": "steps=2",
    "=120": "=6",
    "every=40": "every=6",
    "_steps=20": "_steps=2",
    "log_every=10": "log_every=2",
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A checkout whose outputs do not stay.
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(path, as_version=4)
    install, *rest = notebook.cells[1:]
    assert "%pip install" in install.source
    notebook.cells = rest
    for cell in rest:
        for long, short in SHORTER.items():
            cell.source = cell.source.replace(long, short)
    kernel = {"kernel_name": "python3", "resources": {"metadata": {"path": str(tmp_path / "notebooks")}}}
    NotebookClient(notebook, timeout=300, **kernel).execute()
    kinds = {kind for cell in rest for output in cell.get("outputs", ()) for kind in output.get("data", {})}
    assert {"image/gif", "image/png"} <= kinds


def test_there_are_three_and_no_outputs_in_them() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["edit", "generate", "train"]
    for path in NOTEBOOKS:
        assert not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)
