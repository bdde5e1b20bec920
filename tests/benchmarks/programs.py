"""Prints the text of small compiled programs over 8 virtual devices, as JSON by name: run as a process of its own."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

MESH = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def compiled(function, *shapes, inputs, outputs) -> str:
    mapped = jax.shard_map(function, mesh=MESH, in_specs=inputs, out_specs=outputs, check_vma=False)
    arguments = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(MESH, spec))
        for shape, spec in zip(shapes, inputs, strict=True)
    ]
    return jax.jit(mapped).lower(*arguments).compile().as_text()


def gather_in_loop(stacked, x):
    """Five layers' weights, each gathered where it is used."""

    def layer(x, weight):
        return jnp.tanh(x @ jax.lax.all_gather(weight, "fsdp", tiled=True)), None

    return jax.lax.scan(layer, x, stacked)[0]


def scatter(x):
    return jax.lax.psum_scatter(x, "fsdp", tiled=True)


def shift(x):
    return jax.lax.ppermute(x, "fsdp", [(i, (i + 1) % 4) for i in range(4)])


def main() -> None:
    cells = {
        "gather": compiled(
            gather_in_loop,
            (5, 64, 64),
            (8, 64),
            inputs=(P(None, "fsdp"), P(("data", "fsdp"))),
            outputs=P(("data", "fsdp")),
        ),
        "reduce": compiled(lambda x: jax.lax.psum(x, "data"), (64, 128), inputs=(P("data"),), outputs=P()),
        "scatter": compiled(scatter, (64, 128), inputs=(P(),), outputs=P("fsdp")),
        "permute": compiled(shift, (64, 128), inputs=(P("fsdp"),), outputs=P("fsdp")),
        "add": jax.jit(lambda x: x + 1).lower(np.zeros((64, 128), np.float32)).compile().as_text(),
        "update": jax.jit(
            lambda x, y: jax.lax.fori_loop(
                0, 7, lambda i, x: jax.lax.dynamic_update_index_in_dim(x, jnp.sin(y * i), i, 0), x
            ),
            donate_argnums=0,
        )
        .lower(np.zeros((1000, 256), np.float32), np.zeros(256, np.float32))
        .compile()
        .as_text(),
    }
    print(json.dumps(cells))


if __name__ == "__main__":
    main()
