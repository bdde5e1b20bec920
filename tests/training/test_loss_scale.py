"""The loss scale halves after an overflow and doubles after a while without."""

import jax.numpy as jnp

from magdiff_jax.training.loss_scale import adjust, make_loss_scale


def test_scale_follows_overflows() -> None:
    scale = make_loss_scale(8.0)
    scales = []
    for finite in (True, True, True, False, False, False, False, False, True, True, True):
        scale = adjust(scale, jnp.array(finite), growth_interval=3)
        scales.append(float(scale.scale))
    # Three good steps double it, five bad ones take it down to one and no further, three good ones double it again.
    assert scales == [8, 8, 16, 8, 4, 2, 1, 1, 1, 1, 2]
