import re

import jax
import jax.numpy as jnp
import pytest

from magdiff_jax.models import UNetConfig, VAEConfig, build
from magdiff_jax.sharding.leaves import shapes
from magdiff_jax.training.overview import listing, summary


@pytest.fixture(scope="module")
def full():
    return shapes({"unet": build("unet", UNetConfig()), "vae": build("vae", VAEConfig())})


def test_full_size_counts_by_component_and_block(full):
    paper = re.compile(r"unet/.*(temp_|transformer_blocks/\d+|conv_in)")
    trainable = {path: leaf for path, leaf in full.items() if paper.match(path)}
    frozen = {path: leaf for path, leaf in full.items() if path not in trainable}
    text = summary(trainable, frozen)
    assert "unet: 590,871,392 trainable of 1,207,971,876" in text.splitlines()
    assert "vae: 0 trainable of 83,653,863" in text.splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["unet/conv_in", "23,360", "0"] in cells
    assert ["unet/conv_out", "0", "11,524"] in cells
    rows = {row[0]: [int(number.replace(",", "")) for number in row[1:]] for row in cells if row and "/" in row[0]}
    assert {"unet/down_blocks/3", "unet/mid_block", "unet/up_blocks/0", "vae/encoder", "vae/decoder"} <= rows.keys()
    assert sum(sum(row) for row in rows.values()) == 1_207_971_876 + 83_653_863
    assert sum(row[0] for row in rows.values()) == 590_871_392
    assert len(text.splitlines()) < 40


def test_listing_names_every_parameter(full):
    lines = listing(full, {}).splitlines()
    assert sum(line.startswith("| unet/") for line in lines) == sum(path.startswith("unet/") for path in full)
    assert "(empty table)" not in lines


def test_listing_shows_how_arrays_lie():
    mesh = jax.make_mesh((1,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "fsdp"))
    text = listing({"unet/a/kernel": jax.device_put(jnp.ones((4, 6)), rows)}, {"unet/b": jnp.ones(3, jnp.bfloat16)})
    (kernel,) = (line for line in text.splitlines() if "kernel" in line)
    assert [cell.strip() for cell in kernel.split("|")[1:-1]] == [
        "unet/a/kernel",
        "(4, 6)",
        "float32",
        "24",
        "(None, 'fsdp')",
    ]
    assert "bfloat16" in text
