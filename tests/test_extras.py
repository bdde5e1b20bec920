"""What a user without an extra is told."""

import sys

import pytest

from magdiff_jax.data.sources import open_source
from magdiff_jax.errors import UserError
from magdiff_jax.extras import require


def test_what_is_there_is_enough() -> None:
    require("demo", "numpy", "jax")


def test_what_is_missing_is_named_with_the_extra() -> None:
    with pytest.raises(UserError, match=r"this needs no_such_library; install with: pip install 'magdiff_jax\[data\]'"):
        require("data", "numpy", "no_such_library")


def test_a_source_says_so_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"this needs resvg_py; install with: pip install 'magdiff_jax\[data\]'"):
        open_source({"kind": "emoji_motion", "split": "train", "length": 3})
