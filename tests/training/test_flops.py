import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from magdiff_jax.training.flops import count_flops

MATRIX = jnp.ones((8, 8))
ONE = 2 * 8**3  # of MATRIX @ MATRIX
IMAGES, KERNEL = jnp.ones((2, 16, 16, 3)), jnp.ones((4, 4, 3, 5))


def count(function, *arguments):
    return count_flops(jax.jit(function).trace(*arguments).jaxpr.jaxpr)


def square(a):
    return a @ a


def strided(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (4, 4), ((0, 0), (0, 0)), dimension_numbers=layout)


def test_matrix_products():
    assert count(lambda a, b: jnp.einsum("bij,bkj->bik", a, b), jnp.ones((3, 5, 7)), jnp.ones((3, 2, 7))) == (
        2 * 3 * 5 * 2 * 7
    )
    assert count(lambda a: jnp.sin(a) + a, MATRIX) == 0


def test_a_convolution_and_both_of_its_gradients_take_the_same():
    once = 2 * (2 * 4 * 4 * 5) * (4 * 4 * 3)
    assert count(strided, IMAGES, KERNEL) == once
    both = jax.grad(lambda x, kernel: strided(x, kernel).sum(), (0, 1))
    assert count(both, IMAGES, KERNEL) == pytest.approx(3 * once, rel=0.15), "borders differ"


def test_grouped_convolution():
    def grouped(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=4)

    assert count(grouped, jnp.ones((1, 6, 6, 8)), jnp.ones((3, 3, 2, 12))) == 2 * (6 * 6 * 12) * (3 * 3 * 2)


def test_loops_count_their_rounds():
    assert count(lambda a: jax.lax.scan(lambda c, _: (c @ c, None), a, None, length=5)[0], MATRIX) == 5 * ONE
    assert count(lambda a: jax.lax.fori_loop(0, 5, lambda _, c: c @ c, a), MATRIX) == 5 * ONE
    assert count(lambda a: jax.lax.map(square, jnp.stack([a, a, a])), MATRIX) == 3 * ONE
    assert count(lambda a: jax.lax.while_loop(lambda c: c.sum() < 9, square, a), MATRIX) == ONE


def test_branches_count_as_the_dearest():
    assert count(lambda a: jax.lax.cond(a.sum() > 0, square, lambda a: a @ a @ a, a), MATRIX) == 2 * ONE
    forms = {"cpu": square, "default": square}
    assert count(lambda a: jax.lax.platform_dependent(a, **forms), MATRIX) == ONE


def test_inner_functions():
    @jax.custom_vjp
    def custom(a):
        return a @ a

    custom.defvjp(lambda a: (custom(a), a), lambda a, g: (g @ a @ a @ a,))
    assert count(jax.jit(square), MATRIX) == ONE
    assert count(custom, MATRIX) == ONE
    assert count(jax.grad(lambda a: custom(a).sum()), MATRIX) == ONE + 3 * ONE
    assert count(lambda a: jax.nn.relu(a @ a), MATRIX) == ONE, "relu has a JVP of its own"
    assert count(jax.vmap(square), jnp.stack([MATRIX] * 4)) == 4 * ONE


def test_what_is_computed_again_counts_again():
    def layer(a):
        return square(square(a))

    plain = count(jax.grad(lambda a: layer(a).sum()), MATRIX)
    again = count(jax.grad(lambda a: jax.checkpoint(layer)(a).sum()), MATRIX)
    assert plain == 6 * ONE
    assert again == 7 * ONE, "the gradient needs only the first product again"


def test_shard_map_counts_all_devices():
    mesh = jax.sharding.AbstractMesh((4, 2), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
    rows = jax.shard_map(
        lambda a: a @ a.T,
        mesh=mesh,
        in_specs=PartitionSpec("data"),
        out_specs=PartitionSpec("data"),
        axis_names={"data"},
    )
    shape = jax.ShapeDtypeStruct((32, 8), np.float32)
    assert count_flops(jax.make_jaxpr(rows)(shape).jaxpr) == 4 * (2 * 8 * 8 * 8)
