"""The table between PyTorch's names and layouts and ours."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.models import COMPONENTS, UNetConfig, VAEConfig
from magdiff_jax.models.network import flatten
from magdiff_jax.weights.files import Tensor
from magdiff_jax.weights.table import Entry, Layout, match, other_name, table, table_name
from tests.parity.recordings import Recording, recordings
from tests.weights.checkpoints import network

TRAINABLE = r"temp_|transformer_blocks\.\d+|conv_in"
FULL_SIZES = [
    ("unet", UNetConfig(), 1_207_971_876),
    ("unet", UNetConfig(apa=False, hfa_levels=(), use_linear_projection=False), None),
    ("unet", UNetConfig(hfa_levels=(384, 320, 256)), 1_207_971_876 + 2 * (9 * 4 * 4 + 4)),
    ("vae", VAEConfig(), 83_653_863),
    ("vae", VAEConfig(add_temp_conv=True), None),
    ("text_encoder", COMPONENTS["text_encoder"][1](), 340_387_840),
    ("vision", COMPONENTS["vision"][1](), None),
    ("resampler", COMPONENTS["resampler"][1](), None),
]


def size(entries: list[Entry]) -> int:
    return sum(math.prod(entry.shape) for entry in entries)


@pytest.mark.parametrize(("name", "config", "parameters"), FULL_SIZES)
def test_every_leaf_has_one_entry(name: str, config: object, parameters: int | None) -> None:
    built = network(name, config)
    entries = table(built)
    leaves = dict(flatten(built.shapes))
    assert [entry.path for entry in entries] == list(leaves)
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert sorted(d for d in entry.shape if d > 1) == sorted(d for d in leaves[entry.path].shape if d > 1)
    if parameters is not None:
        assert size(entries) == parameters


def test_trainable_share_of_the_full_unet() -> None:
    entries = table(network("unet", UNetConfig()))
    assert size([entry for entry in entries if re.search(TRAINABLE, entry.name)]) == 590_871_392


@pytest.mark.parametrize(("name", "config", "_"), FULL_SIZES)
def test_layouts_invert(name: str, config: object, _: object) -> None:
    layouts = {
        (entry.layout, tuple(min(d, n + 2) for n, d in enumerate(entry.shape)))
        for entry in table(network(name, config))
    }
    for layout, shape in layouts:
        array = np.random.default_rng(0).standard_normal(shape)
        np.testing.assert_array_equal(layout.to_torch(layout.to_ours(array)), array)
        ours = layout.to_ours(array)
        np.testing.assert_array_equal(layout.to_ours(layout.to_torch(ours)), ours)


def test_layouts_are_those_of_the_products() -> None:
    """[out, in, height, width] → [height, width, in, out], and so on: checked element by element."""
    kernel = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    assert Layout((3, 2, 0, 1)).to_ours(kernel)[4, 6, 2, 1] == kernel[1, 2, 4, 6]
    frames = np.arange(2 * 3 * 5).reshape(2, 3, 5, 1, 1)
    assert Layout((2, 1, 0), ones=2).to_ours(frames)[4, 2, 1] == frames[1, 2, 4, 0, 0]


@pytest.mark.parametrize("path", recordings("in/sample", "out/sample") + recordings("in/latent", "out/decoded"))
def test_names_and_shapes_are_those_of_recorded_video_networks(path: Path) -> None:
    check_recorded(Recording(path))


@pytest.mark.parametrize(
    "path",
    recordings("in/ids", "out/last_hidden") + recordings("in/preprocessed", "out/tokens") + recordings("in/features"),
)
def test_names_and_shapes_are_those_of_recorded_clip_and_resampler(path: Path) -> None:
    check_recorded(Recording(path))


def check_recorded(recording: Recording) -> None:
    ours = {entry.name: entry.shape for entry in table(recording.component.network)}
    prefix = "visual." if "visual.conv1.weight" in recording.state else ""
    recorded = {table_name(name.removeprefix(prefix)): array.shape for name, array in recording.state.items()}
    assert {name: shape for name, shape in recorded.items() if not name.endswith("position_ids")} == ours


def test_other_names_are_two_way() -> None:
    pairs = {
        "encoder.mid_block.attentions.0.query.weight": "encoder.mid_block.attentions.0.to_q.weight",
        "decoder.mid_block.attentions.0.proj_attn.bias": "decoder.mid_block.attentions.0.to_out.0.bias",
        "encoder.layers.3.mlp.fc1.weight": "text_model.encoder.layers.3.mlp.fc1.weight",
        "embeddings.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "final_layer_norm.bias": "text_model.final_layer_norm.bias",
    }
    for other, name in pairs.items():
        assert table_name(other) == table_name(name) == name
        assert other_name(name) == other
    for name, config in (("unet", UNetConfig()), ("vae", VAEConfig())):
        assert all(table_name(entry.name) == entry.name for entry in table(network(name, config)))


def tensor(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(shape, np.dtype(dtype), lambda: np.zeros(shape, dtype))


ENTRIES = [
    Entry(("a", "kernel"), "a.weight", (2, 3), Layout((1, 0))),
    Entry(("a", "bias"), "a.bias", (2,), Layout()),
    Entry(("b", "scale"), "encoder.mid_block.attentions.0.to_q.bias", (4,), Layout()),
]
WHOLE = {"a.weight": tensor(2, 3), "a.bias": tensor(2), "encoder.mid_block.attentions.0.to_q.bias": tensor(4)}


def test_match_takes_the_last_source() -> None:
    later = {"a.bias": tensor(2, dtype="float16")}
    assert match(ENTRIES, [WHOLE, later], what="x")["a.bias"].dtype == np.float16
    assert set(match(ENTRIES, [WHOLE], what="x")) == {entry.name for entry in ENTRIES}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (WHOLE | {"c.weight": tensor(1), "d": tensor(1)}, "2 unknown: c.weight, d"),
        ({"a.weight": tensor(2, 3)}, "2 missing: a.bias, encoder.mid_block.attentions.0.to_q.bias"),
        (WHOLE | {"a.weight": tensor(3, 2)}, "1 of another shape: a.weight (3, 2), needs (2, 3)"),
        (
            WHOLE | {"encoder.mid_block.attentions.0.query.bias": tensor(4)},
            "1 double: encoder.mid_block.attentions.0.to_q.bias and encoder.mid_block.attentions.0.query.bias",
        ),
        (WHOLE | {"a.bias": tensor(2, dtype="int64")}, "1 of no floating type: a.bias int64"),
    ],
    ids=["unknown", "missing", "shape", "double", "type"],
)
def test_match_is_strict(source: dict[str, Tensor], complaint: str) -> None:
    with pytest.raises(UserError, match=f"^net does not fit the network; tensors {re.escape(complaint)}$"):
        match(ENTRIES, [source], what="net")


def test_match_lists_all_at_once_and_lets_some_lack() -> None:
    source = {"a.weight": tensor(1), "c": tensor(1)}
    with pytest.raises(UserError, match=r"1 unknown: c; 1 missing: a\.bias; 1 of another shape"):
        match(ENTRIES, [source], what="net", may_lack="to_q")


def test_a_network_without_a_name_in_common_is_told_by_its_first_names() -> None:
    net = "^net does not fit the network: its names "
    with pytest.raises(UserError, match=rf"{net}all begin with student\.net\.; needed are a\.weight, a\.bias, encoder"):
        match(ENTRIES, [{f"student.net.{name}": tensor(1) for name in WHOLE}], what="net")
    with pytest.raises(UserError, match=rf"{net}are 0, 1, 2, … \(9 in all\); needed are"):
        match(ENTRIES, [{str(index): tensor(1) for index in range(9)}], what="net")
