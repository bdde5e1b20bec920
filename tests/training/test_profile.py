import jax
import jax.numpy as jnp
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.training.profile import Profiler


def run(profiler, first, last):
    """Which steps found a trace running."""
    traced = []
    with profiler:
        for step in range(first, last + 1):
            profiler.before(step)
            traced += [step] if profiler.running else []
            profiler.after(step, jax.jit(jnp.sin)(step))
    return traced


def traces(folder):
    return list(folder.glob("plugins/profile/*/*.xplane.pb"))


def test_traces_its_window(tmp_path):
    assert run(Profiler(tmp_path, "3:2"), 1, 6) == [3, 4]
    assert len(traces(tmp_path)) == 1
    assert traces(tmp_path)[0].stat().st_size > 1000


def test_a_run_that_ends_first_keeps_what_there_is(tmp_path):
    assert run(Profiler(tmp_path, "2:100"), 1, 3) == [2, 3]
    assert len(traces(tmp_path)) == 1


def test_nothing_without_a_window_or_beyond_it(tmp_path):
    assert run(Profiler(tmp_path), 1, 3) == []
    assert run(Profiler(tmp_path, "3:2"), 5, 6) == []
    assert not traces(tmp_path)


@pytest.mark.parametrize("window", ["5", "0:3", "3:0", "a:b", "-1:2", "1:2:3", ":", "100:5\n", "٣:٢"])
def test_impossible_windows(tmp_path, window):
    with pytest.raises(UserError, match="--profile"):
        Profiler(tmp_path, window)
