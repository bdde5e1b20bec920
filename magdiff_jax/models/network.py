"""A network as a function of its parameters: the module's static structure beside a pure nested dict."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import PRNGKeyArray

from magdiff_jax.models.configs import NetworkConfig

# Nested dicts (list entries under their index) with an array in each leaf.
Params = dict[Any, Any]


class _Keys(nnx.Rngs):
    """Keys for a module's initialisation, one for each parameter.

    Flax's own counts in a variable, and each update of one within a trace walks the whole trace: 20 s for the
    full U-Net, where this takes under two.
    """

    def __init__(self, key: PRNGKeyArray):
        self._keys = nnx.static((jax.random.fold_in(key, index) for index in itertools.count()))

    def params(self) -> PRNGKeyArray:
        return next(self._keys)


class Network:
    """Structure of an NNX module; takes no memory for parameters.

    >>> network = Network(UNet, UNetConfig())
    >>> prediction = jax.jit(network.apply)(params, sample, timesteps, condition)

    Attributes:
        config: what the module was built from.
        module: the module with shapes in the place of arrays.
        shapes: the parameters' tree with `jax.ShapeDtypeStruct` leaves.
    """

    def __init__(self, module_class: Callable[..., nnx.Module], config: NetworkConfig):
        self.config = config
        self._build = lambda key: module_class(config, rngs=_Keys(key))
        self.module = nnx.eval_shape(self._build, jax.random.key(0))
        self._structure, state = nnx.split(self.module, nnx.Param)
        self.shapes: Params = nnx.to_pure_dict(state)

    def init(self, key: PRNGKeyArray) -> Params:
        """Fresh parameters, float32, initialised as the released code does."""
        return jax.jit(lambda k: nnx.to_pure_dict(nnx.state(self._build(k), nnx.Param)))(key)

    def apply(self, params: Params, *args: Any, method: str = "__call__", **kwargs: Any) -> Any:
        """Call the module, or one of its methods, with these parameters."""
        return getattr(nnx.merge(self._structure, params), method)(*args, **kwargs)
