"""What a command says while its programs are compiled."""

import jax
import jax.numpy as jnp
import pytest

from magdiff_jax import runtime


@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_compiling_is_told_once_where_it_takes_long(
    patience: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime, "PATIENCE", patience)
    with runtime.telling_of_compiling():
        for axis in (0, 1):
            jax.jit(lambda x, axis=axis: jnp.linalg.qr(jnp.sort(x, axis) + patience))(jnp.ones((5, 5)))
    jax.jit(lambda x: jnp.sort(x) - patience)(jnp.ones(7))
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in told] == ["compiling for this model and size"] * (patience == 0)
