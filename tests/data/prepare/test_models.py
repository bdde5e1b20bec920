import json
import sys
import time

import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.data.prepare.models import devices, find, load, pin, place
from magdiff_jax.errors import UserError

torch = pytest.importorskip("torch")


def test_the_cpu_computes_in_float32_unless_told():
    assert place("cpu", None) == (torch.device("cpu"), torch.float32)
    assert place("cpu", "bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize("device", ["gpu0", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ConfigError, match=device):
        place(device, None)


def test_all_devices_each_once():
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    assert devices(None) == (gpus or ["cpu"])
    assert devices("cpu") == devices(("cpu", "cpu")) == ["cpu"]
    with pytest.raises(ConfigError, match="cuda:99"):
        devices(["cpu", "cuda:99"])
    with pytest.raises(ConfigError, match=r"device = \[\]: must name at least one"):
        devices([])


def test_an_unknown_type_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'int8'.*float32, bfloat16, float16"):
        place("cpu", "int8")


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'magdiff_jax\[prepare\]'"):
        place(None, None)


@pytest.mark.parametrize("name", ["nobody-at-all/no-such-model", "/no/such/folder", "no such name"])
def test_a_model_that_cannot_be_had_says_so_soon(name, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    started = time.monotonic()
    with pytest.raises(UserError, match=f"{name}.*name a folder that holds it") as caught:
        find(name, ("blip-2",))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("config", [None, "{", "[]", "{}"])
def test_a_folder_without_a_model(tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(UserError, match="no config"):
        find(str(tmp_path), ("blip-2",))


def test_a_model_of_another_type_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="of type bert; this stage takes blip-2"):
        find(str(tmp_path), ("blip-2",))
    assert find(str(tmp_path), ("blip-2", "bert")) == tmp_path


def test_what_fails_to_load_is_named_in_one_line():
    def fail():
        raise OSError("no such file\nand much advice")

    with pytest.raises(UserError, match=r"^model here: it cannot be loaded \(no such file\); copy or fetch it again$"):
        load("here", fail)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A model in the hub's cache, as the hub's library lays it out, without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--someone--something" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(COMMIT)
    return folder


def test_a_model_of_the_hub_is_pinned_to_its_commit(cached):
    pinned = pin("someone/something", ("bert",))
    assert pinned == f"someone/something@{COMMIT}"
    assert pin(pinned, ("bert",)) == pin("someone/something@main", ("bert",)) == pinned
    assert find(pinned, ("bert",)) == find("someone/something", ("bert",)) == cached
    with pytest.raises(UserError, match="of type bert"):
        pin("someone/something", ("clip",))
    for other in (f"someone/something@{COMMIT[::-1]}", "someone/something@v2", "nobody/nothing"):
        with pytest.raises(UserError, match=f"model {other}: it is neither a folder, nor in the hub's cache"):
            pin(other, ("bert",))
        with pytest.raises(UserError, match=f"model {other}: it is neither a folder, nor in the hub's cache"):
            find(other, ("bert",))


def test_a_folder_is_pinned_to_its_content(tmp_path, monkeypatch):
    folder = tmp_path / "a@b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    monkeypatch.chdir(tmp_path)
    pinned = pin("a@b", ("bert",))
    assert pinned.startswith(f"{folder}@")
    assert find(pinned, ("bert",)) == folder
    assert pin(pinned, ("bert",)) == pinned
    (folder / "weights").write_bytes(b"other")
    for ask in (find, pin):
        with pytest.raises(UserError, match=f"^model {pinned}: here its revision is [0-9a-f]+; give every machine"):
            ask(pinned, ("bert",))
    assert pin("a@b", ("bert",)) != pinned
