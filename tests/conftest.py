"""The whole suite runs with shapes and types checked at run time, and on the CPU."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest
from jaxtyping import install_import_hook

install_import_hook("magdiff_jax", "beartype.beartype")

from magdiff_jax.tokenizer import Tokenizer
from tools.demo import write_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A real CLIP tokenizer with a small vocabulary."""
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return Tokenizer(folder, 77)
