"""A network as a function of its parameters: the module's static structure beside a pure nested dict."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, PRNGKeyArray

from magdiff_jax.config import Config
from magdiff_jax.models.ops import traced_for

# Nested dicts (list entries under their index) with an array in each leaf.
Params = dict[Any, Any]
Path = tuple[str | int, ...]


def flatten(params: Params, prefix: Path = ()) -> list[tuple[Path, Any]]:
    """(path, leaf) of a nested dict, in its own order."""
    leaves: list[tuple[Path, Any]] = []
    for key, value in params.items():
        leaves += flatten(value, (*prefix, key)) if isinstance(value, dict) else [((*prefix, key), value)]
    return leaves


def unflatten(leaves: Iterable[tuple[Path, Any]]) -> Params:
    """The inverse of `flatten`."""
    params: Params = {}
    for path, value in leaves:
        node = params
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value
    return params


# Of a network; the full U-Net has 1,214.
_MOST_PARAMETERS = 4096


class _Keys(nnx.Rngs):
    """Keys for a module's initialisation, one for each parameter: `fold_in` of its number.

    Flax's own counts in a variable, and each update of one within a trace walks the whole trace: 20 s for the
    full U-Net, where this takes under two. All are made at once, for some more parameters than any network has: one
    by one they are a third of what is to be compiled.
    """

    def __init__(self, key: PRNGKeyArray):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(_MOST_PARAMETERS))
        numbers = iter(range(_MOST_PARAMETERS))
        self.params = lambda: keys[next(numbers)]


class Network:
    """Structure of an NNX module and the precision it computes in; holds no parameters.

    >>> network = Network(UNet, UNetConfig(), dtype="bfloat16")
    >>> prediction = jax.jit(network.apply)(params, sample, timesteps, condition)

    Attributes:
        config: what the module was built from.
        dtype: of the computation, one of COMPUTE_DTYPES. Parameters and inputs are cast to it; norms and softmax
            stay in float32, and float32 means float32 products also where the hardware would round its inputs.
        module: the module with shapes in the place of arrays.
        shapes: the parameters' tree with `jax.ShapeDtypeStruct` leaves.
    """

    def __init__(self, module_class: Callable[..., nnx.Module], config: Config, dtype: str = "float32"):
        self.config = config
        self.dtype = dtype
        self._build = lambda key: module_class(config, rngs=_Keys(key))
        self.module = nnx.eval_shape(self._build, jax.random.key(0))
        self._structure, state = nnx.split(self.module, nnx.Param)
        self.shapes: Params = nnx.to_pure_dict(state)

    def init(self, key: PRNGKeyArray) -> Params:
        """Fresh parameters in float32."""
        paths = [path for path, _ in flatten(self.shapes)]
        return unflatten(zip(paths, self.init_leaves(key, paths), strict=True))

    def init_leaves(
        self, key: PRNGKeyArray, paths: Sequence[Path], shardings: Sequence[Sharding] | None = None
    ) -> list[Array]:
        """Some of `init`'s parameters, the same values, taking no memory for the others.

        `shardings`: where each is to lie; each device makes its own part.
        """

        def build(key: PRNGKeyArray) -> list[Array]:
            leaves = dict(flatten(nnx.to_pure_dict(nnx.state(self._build(key), nnx.Param))))
            return [leaves[path] for path in paths]

        # Compiling takes longer than the run: without XLA's optimisations a third of the time, for the same values.
        options = {"xla_backend_optimization_level": 0}
        return jax.jit(build, out_shardings=shardings, compiler_options=options)(key)

    def apply(self, params: Params, *args: Any, method: str = "__call__", **kwargs: Any) -> Any:
        """Call the module, or one of its methods, with these parameters."""
        params, args, kwargs = jax.tree.map(self._cast, (params, args, kwargs))
        with jax.default_matmul_precision("highest" if self.dtype == "float32" else "default"):
            return getattr(nnx.merge(self._structure, params), method)(*args, **kwargs)

    def _cast(self, leaf: Any) -> Any:
        is_float = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, self.dtype) if is_float else leaf


class Component:
    """A network with its parameters, compiled once for each shape of its inputs.

    What goes in and comes out is documented at the module; `method` names one of its methods.

    Attributes:
        batch_sharding: how a mesh of devices shares out the first axis of all inputs; parameters that it shares out
            are gathered for the call. None: one device.
        platform: of the devices that compute ("cpu", "gpu", "tpu").
    """

    def __init__(self, network: Network, params: Params, batch_sharding: NamedSharding | None = None):
        self.network = network
        self.params = params
        self.batch_sharding = batch_sharding
        self.platform = _platform(params, batch_sharding)
        self._apply = jax.jit(traced_for(self.platform)(self._on_all_devices), static_argnames=("method",))

    def __call__(self, *args: Any, method: str = "__call__") -> Any:
        return self._apply(self.params, *jax.device_put(args, self.batch_sharding), method=method)

    def _on_all_devices(self, params: Params, *args: Any, method: str) -> Any:
        if self.batch_sharding is not None:
            whole = NamedSharding(self.batch_sharding.mesh, PartitionSpec())
            params = jax.lax.with_sharding_constraint(params, whole)
        return self.network.apply(params, *args, method=method)

    @property
    def config(self) -> Any:
        return self.network.config


def _platform(params: Params, batch_sharding: NamedSharding | None) -> str:
    if batch_sharding is not None:
        mesh: Any = batch_sharding.mesh
        return mesh.devices.flat[0].platform
    leaf = jax.tree.leaves(params)[0]
    return next(iter(leaf.devices())).platform if isinstance(leaf, jax.Array) else jax.default_backend()
