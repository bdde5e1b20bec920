"""Every training config that the project has."""

from pathlib import Path

import pytest

from magdiff_jax.config_file import read_config
from magdiff_jax.training.config import TrainConfig
from tests.training.commands import ROOT

CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.py") if "data" not in path.parts)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(ROOT / "configs").as_posix())
def test_can_be_trained(path: Path) -> None:
    config = TrainConfig.from_dict(read_config(path, []))
    # Its docstring gives the command.
    assert f"--config {path.relative_to(ROOT)} --workdir runs/" in path.read_text()
    assert config.fingerprint() == TrainConfig.from_dict(config.to_dict()).fingerprint()
