"""Checksums of arrays where they lie: on their devices, and the same however they are spread over them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import UInt32

# Odd, so that each maps different positions to different numbers: 2^32 / golden ratio, and one of MurmurHash3's.
_MULTIPLIERS = (0x9E3779B1, 0x85EBCA77)


def checksums(arrays: Mapping[str, jax.Array]) -> dict[str, str]:
    """64 bits of each array, as 16 hexadecimal digits, that depend on every bit of it and on where it stands.

    A change of one element, whatever it is, changes them for certain, any other but for one in 2^64. They are exact
    sums of integers: the same on every kind of device, on any number of them, in any order. No array is gathered or
    copied; all processes call this alike and all get the sums.

    Args:
        arrays: by name, of types of up to 32 bits or of PRNG keys; sharded in any way.
    """
    # All devices are at work before the first result is waited for.
    sums = jax.device_get({name: _sums(array) for name, array in arrays.items()})
    return {name: "".join(f"{part:08x}" for part in parts) for name, parts in sums.items()}


@jax.jit
def _sums(array: jax.Array) -> UInt32[jax.Array, " 2"]:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    bits = _bits(array)
    position, stride = jnp.zeros(bits.shape, jnp.uint32), 1
    for axis in reversed(range(bits.ndim)):
        position += jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis) * jnp.uint32(stride % 2**32)
        stride *= bits.shape[axis]
    return jnp.stack([_mix(bits ^ (position * jnp.uint32(m))).sum(dtype=jnp.uint32) for m in _MULTIPLIERS])


def _bits(array: jax.Array) -> UInt32[jax.Array, "*_shape"]:
    """The bits of each element as an integer."""
    if array.dtype == jnp.bool:
        return array.astype(jnp.uint32)
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[array.dtype.itemsize]
    return jax.lax.bitcast_convert_type(array, unsigned).astype(jnp.uint32)


def _mix(bits: UInt32[jax.Array, "*_shape"]) -> UInt32[jax.Array, "*_shape"]:
    """Each number to another, far from it: MurmurHash3's finalizer, a bijection (Appleby, public domain)."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
