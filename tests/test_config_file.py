"""Configs in files, changed by flags."""

from pathlib import Path

import pytest

from magdiff_jax.config_file import read_config, split_overrides
from magdiff_jax.errors import UserError

FILE = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({"name": "a", "cut": {"fps": 8.0, "parts": False}, "levels": (384, 256), "model": None})
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text(FILE)
    return tmp_path / "config.py"


def test_values_and_overrides_of_their_types(config: Path) -> None:
    assert read_config(config, []) == {
        "name": "a",
        "cut": {"fps": 8.0, "parts": False},
        "levels": (384, 256),
        "model": None,
    }
    changed = read_config(
        config, ["--config.name=b c", "--config.cut.fps=4", "--config.cut.parts=true", "--config.levels=(64,)"]
    )
    assert changed == {"name": "b c", "cut": {"fps": 4.0, "parts": True}, "levels": (64,), "model": None}
    assert read_config(config, [])["name"] == "a"


def test_a_path_may_begin_with_the_home_folder(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert read_config(config, ["--config.name=~/a=b"])["name"] == "/home/me/a=b"


def test_overrides_are_told_from_a_command_s_own_flags() -> None:
    arguments = ["--config", "x.py", "--config.a=1", "--out", "y", "--config.b.c=2"]
    assert split_overrides(arguments) == (["--config", "x.py", "--out", "y"], ["--config.a=1", "--config.b.c=2"])


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("--config.cut.fpss=3", 'Did you mean "fps"'),
        ("--config.cut.fps=fast", "could not convert string to float: 'fast'"),
        ("--config.cut.parts", "write --config.KEY=VALUE"),
    ],
)
def test_mistakes_in_flags_are_one_line(config: Path, override: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        read_config(config, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("def get_config(): return 1 / 0", "ZeroDivisionError"), ("x = 1", "get_config"), ("def", "SyntaxError")],
)
def test_mistakes_in_files_are_one_line(config: Path, text: str, complaint: str) -> None:
    config.write_text(text)
    with pytest.raises(UserError, match=complaint) as caught:
        read_config(config, [])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        read_config(config.with_name("other.py"), [])
