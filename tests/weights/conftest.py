"""A small converted model that the tests of this folder share."""

from pathlib import Path

import pytest

from magdiff_jax.weights.convert import from_torch
from magdiff_jax.weights.sources import Sources
from tests.weights.checkpoints import write_base, write_magdiff


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Files of a whole model but the vision tower; not to be changed."""
    folder = tmp_path_factory.mktemp("sources")
    return Sources(write_base(folder / "sd"), [write_magdiff(folder / "MagDiff.safetensors")])


@pytest.fixture(scope="session")
def model(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder made from them; not to be changed."""
    folder = tmp_path_factory.mktemp("model") / "model"
    from_torch(sources, folder, hfa_levels=(64,))
    return folder
