"""What a fresh network takes over from a stored one."""

import numpy as np

from magdiff_jax.training.start import taken_over


def network(conv_in: tuple[int, ...], linear: tuple[int, ...], value: float) -> dict:
    return {
        "conv_in": {"kernel": np.full(conv_in, value, np.float32), "bias": np.full(conv_in[-1:], value, np.float32)},
        "linear": {"kernel": np.full(linear, value, np.float32)},
    }


def test_channels_beside_the_noise_start_at_zero() -> None:
    taken = taken_over(network((3, 3, 8, 16), (4, 4), 1), network((3, 3, 4, 16), (4, 4), 2))
    kernel = taken["conv_in"]["kernel"]
    assert (kernel[:, :, :4] == 2).all()
    assert (kernel[:, :, 4:] == 0).all()
    assert (taken["conv_in"]["bias"] == 2).all()
    assert (taken["linear"]["kernel"] == 2).all()


def test_fewer_channels_are_the_first_ones() -> None:
    stored = network((3, 3, 8, 16), (4, 4), 2)
    stored["conv_in"]["kernel"][:, :, 4:] = 3
    assert (taken_over(network((3, 3, 4, 16), (4, 4), 1), stored)["conv_in"]["kernel"] == 2).all()


def test_another_width_is_another_network() -> None:
    taken = taken_over(network((3, 3, 8, 16), (4, 4), 1), network((3, 3, 4, 32), (4, 8), 2))
    for layer in taken.values():
        assert all((leaf == 1).all() for leaf in layer.values())
