import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.training.checkpoints import Checkpoints
from tests.training.checkpoint_runs import assert_same, make_state, target_of
from tests.training.commands import overwrite_64_bytes

# TensorStore's threads go on for a while after a write or a read has failed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TARGET = target_of(make_state(0))


def start(*words: object, devices: int = 1) -> subprocess.Popen[str]:
    """A run of `checkpoint_runs` in a process of its own."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(Path(__file__).with_name("checkpoint_runs.py")), *map(str, words)]
    return subprocess.Popen(command, env={**os.environ, **flags}, stdout=subprocess.PIPE, text=True)


def save(folder: Path, *steps: int, keep: int = 9) -> None:
    with Checkpoints(folder, keep) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"step": step})


def assert_restores(folder: Path, step: int) -> None:
    restored = Checkpoints(folder, 9).restore(TARGET)
    assert restored is not None
    assert (restored.step, restored.extra) == (step, {"step": step})
    assert_same(restored.state, make_state(step))


def largest_file(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saved")
    save(folder, 1, 2)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of `saved`."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


@pytest.mark.quick
def test_the_newest_one_comes_back_bit_for_bit(folder: Path) -> None:
    assert_restores(folder, 2)
    restored = Checkpoints(folder, 9).restore_step(TARGET, 1)
    assert_same(restored.state, make_state(1))
    assert (restored.step, restored.extra) == (1, {"step": 1})


def test_an_empty_folder_has_none_and_reading_leaves_no_trace(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "none", 1)
    assert checkpoints.restore(TARGET) is None
    assert checkpoints.steps() == []
    with pytest.raises(UserError, match="no checkpoint of step 3, only of: none"):
        checkpoints.restore_step(TARGET, 3)
    assert list(tmp_path.iterdir()) == []


def test_the_last_ones_and_the_best_one_stay(tmp_path: Path) -> None:
    losses = {1: 5.0, 2: 1.0, 3: 3.0, 4: float("nan"), 5: 4.0, 6: None}
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, loss in losses.items():
            checkpoints.save(step, {"a": jnp.arange(step)}, {}, loss)
        checkpoints.wait()
        assert checkpoints.steps() == [2, 5, 6]
    with Checkpoints(tmp_path, keep=2) as checkpoints:  # the losses are known after a restart
        checkpoints.save(7, {"a": jnp.arange(7)}, {}, 2.0)
        checkpoints.wait()
        assert checkpoints.steps() == [2, 6, 7]
        checkpoints.save(8, {"a": jnp.arange(8)}, {}, 0.5)
        checkpoints.wait()
        assert checkpoints.steps() == [7, 8]


def test_arrays_may_be_donated_when_save_returns(tmp_path: Path) -> None:
    update = jax.jit(lambda state: jax.tree.map(lambda leaf: -leaf - 1, state), donate_argnums=0)
    state = {f"{i}": jax.random.normal(jax.random.key(i), (500, 1000)) for i in range(4)}
    expected = jax.tree.map(lambda leaf: np.asarray(leaf + 0), state)
    extra = {"position": 1}
    with Checkpoints(tmp_path, 1) as checkpoints:
        checkpoints.save(1, state, extra)
        extra["position"] = 2
        for _ in range(3):
            state = update(state)
        jax.block_until_ready(state)
        restored = checkpoints.restore(target_of(state))
    assert restored is not None
    assert restored.extra == {"position": 1}
    for name, leaf in expected.items():
        np.testing.assert_array_equal(restored.state[name], leaf)


def test_a_step_is_saved_once(folder: Path) -> None:
    with Checkpoints(folder, 9) as checkpoints:
        assert checkpoints.restore(TARGET) is not None
        checkpoints.save(2, make_state(5), {"other": True})
        checkpoints.save(3, make_state(3), {"step": 3})
        checkpoints.save(3, make_state(5), {"other": True})
    assert_restores(folder, 3)
    with pytest.raises(UserError, match=r"later checkpoints than 2 \(2, 3\)"):
        Checkpoints(folder, 9).save(2, make_state(2), {})


def other_state(step: Path) -> None:
    shutil.rmtree(step / "state")
    shutil.copytree(step.with_name("1") / "state", step / "state")


def other_number(path: Path) -> None:
    path.write_text(path.read_text().replace('"step": 2', '"step": 3'))


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "64 bytes": (r"(other values than were written in [\w/]+|[\w/]+ cannot be read).*$", overwrite_64_bytes),
    "other state": (r"other values than were written in step, params/.*, and \d+ more$", other_state),
    "truncated": (r"cannot be read", lambda step: os.truncate(largest_file(step), 1000)),
    "lost": (r"cannot be read", lambda step: largest_file(step).unlink()),
    "no state": (r"state cannot be read \(.*\)$", lambda step: shutil.rmtree(step / "state")),
    "no types": (r"other values than were written in key$", lambda step: shutil.rmtree(step / "state/array_metadatas")),
    "uncommitted": (r"commit_success.txt is missing$", lambda step: (step / "commit_success.txt").unlink()),
    "no record": (r"record/metadata: No such file", lambda step: (step / "record/metadata").unlink()),
    "other record": (r"record/metadata is not as written$", lambda step: other_number(step / "record/metadata")),
    "empty record": (r"record/metadata is not as written$", lambda step: os.truncate(step / "record/metadata", 0)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_is_named_and_the_one_before_it_used(folder: Path, kind: str) -> None:
    text, damage = DAMAGE[kind]
    damage(folder / "2")
    before = sorted(folder.rglob("*"))
    with pytest.warns(UserWarning, match=rf"copy/2 is damaged and not used: .*{text}"):
        assert_restores(folder, 1)
    with pytest.raises(UserError, match=rf"copy/2 is damaged: .*{text.rstrip('$')}"):
        Checkpoints(folder, 9).restore_step(TARGET, 2)
    assert sorted(folder.rglob("*")) == before


def test_a_run_that_goes_on_sets_the_damaged_ones_aside(folder: Path) -> None:
    for name in ("damaged-2", "damaged-2-2"):
        overwrite_64_bytes(folder / "2")
        with Checkpoints(folder, keep=1) as checkpoints:
            with pytest.warns(UserWarning, match="copy/2 is damaged"):
                assert checkpoints.restore(TARGET).step == 1  # type: ignore[union-attr]
            checkpoints.save(2, make_state(2), {"step": 2})
        assert (folder / name / "state").is_dir()
        assert checkpoints.steps() == [2]
        save(folder / "..", 1)
        shutil.move(folder / ".." / "1", folder / "1")
    assert_restores(folder, 2)


def test_without_a_good_one_all_are_named(folder: Path) -> None:
    for step in ("1", "2"):
        overwrite_64_bytes(folder / step)
    with (
        pytest.warns(UserWarning, match="is damaged and not used"),
        pytest.raises(UserError, match=r"all checkpoints are damaged \(1, 2\): move them away"),
    ):
        Checkpoints(folder, 9).restore(TARGET)


def test_another_configuration_is_no_damage(folder: Path) -> None:
    bias = TARGET.params["unet/conv_in/bias"]
    params = {**TARGET.params, "unet/conv_in/bias": bias.update(shape=(63,)), "vae/new": bias}
    del params["resampler/queries"]
    other = TARGET._replace(params=params, step=TARGET.step.update(dtype="uint32"))
    text = (
        "it lacks params/vae/new; it has also params/resampler/queries; step is int32[], not uint32[]; "
        "params/unet/conv_in/bias is float32[64], not float32[63]"
    )
    with pytest.raises(UserError) as raised:
        Checkpoints(folder, 9).restore(other)
    assert str(raised.value) == f"{folder}/2: saved with another configuration: {text}"


def test_one_device_to_eight_and_back(folder: Path) -> None:
    shutil.rmtree(folder / "2")
    run = start("restore_and_save", folder, devices=8)
    run.communicate()
    assert run.returncode == 0
    restored = Checkpoints(folder, 9).restore(TARGET)
    assert restored is not None
    assert restored.extra == {"devices": 8}
    assert_same(restored.state, make_state(2))


def test_one_process_to_two_and_back(folder: Path) -> None:
    """What one of the processes cannot read is damaged for both."""
    shutil.rmtree(folder / "2")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    runs = [start("be_one_of_two", folder, port, process, devices=2) for process in (0, 1)]
    warned = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert "copy/2 is damaged and not used: another process could not read it" in warned[0]
    assert "cannot be read" in warned[1]
    assert (folder / "damaged-2").is_dir()
    restored = Checkpoints(folder, 9).restore(TARGET)
    assert restored is not None
    assert restored.extra == {"again": True}
    assert_same(restored.state, make_state(2))


def test_a_run_killed_while_it_writes_goes_on_from_a_whole_one(tmp_path: Path) -> None:
    delay = random.Random()
    for _ in range(2):
        run = start("save_without_end", tmp_path)
        assert run.stdout is not None
        begun = [int(run.stdout.readline()) for _ in range(3)][-1]
        time.sleep(delay.uniform(0, 0.3))
        run.send_signal(signal.SIGKILL)
        begun = [begun, *map(int, run.communicate()[0].split())][-1]
        restored = Checkpoints(tmp_path, 2).restore(target_of(make_state(0, width=512)))
        assert restored is not None
        assert begun - 1 <= restored.step <= begun + 1
        assert_same(restored.state, make_state(restored.step, width=512))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_harms_no_earlier_one(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "2m"), Checkpoints(disk / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(1, make_state(1), {"step": 1})
        checkpoints.wait()
        filler = disk / "filler"
        free = shutil.disk_usage(disk).free
        filler.write_bytes(bytes(free - 100_000))
        text = r"checkpoints/{} could not be written: No space left on device; the checkpoints before it are unharmed"
        checkpoints.save(2, make_state(2), {"step": 2})
        with pytest.raises(UserError, match=text.format(2)):
            checkpoints.save(3, make_state(3), {"step": 3})
        checkpoints.save(3, make_state(3), {"step": 3})
        with pytest.raises(UserError, match=text.format(3)):
            checkpoints.wait()
        assert checkpoints.steps() == [1]
        assert_restores(disk / "checkpoints", 1)

        filler.unlink()
        checkpoints.save(3, make_state(3), {"step": 3})
        checkpoints.wait()
        assert sorted(path.name for path in (disk / "checkpoints").iterdir()) == ["3"]
        assert_restores(disk / "checkpoints", 3)
