"""Floating-point operations of a program, counted before it is compiled."""

import math
from typing import Any

from jax.extend.core import jaxprs_in_params


def count_flops(jaxpr: Any) -> float:
    """Two for each multiply-add of the matrix products and convolutions, those with padding's zeros too; nothing else.

    Counts what is written in the program of all devices together: what `jax.checkpoint` computes again counts again
    (trace the step without it for the usual "model FLOPs"), a gradient with its forward pass, a `scan` all its rounds,
    a `while` one. Branches count as the dearest one: those here are one operation in the forms for different machines.

    Args:
        jaxpr: such as `jax.jit(function).trace(*arguments).jaxpr.jaxpr`.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        name, params, out = equation.primitive.name, equation.params, equation.outvars[0].aval
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2.0 * out.size * math.prod(left[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel, numbers = equation.invars[1].aval, params["dimension_numbers"]
            products = out.size * kernel.size / kernel.shape[numbers.rhs_spec[0]]
            # The gradient of a strided convolution spreads its input out; the zeros between are no work.
            total += 2.0 * products / math.prod(params["lhs_dilation"])
        elif name == "cond":
            total += max(count_flops(branch.jaxpr) for branch in params["branches"])
        else:
            total += _times(name, params) * sum(count_flops(inner) for inner in jaxprs_in_params(params))
    return total


def _times(name: str, params: dict[str, Any]) -> int:
    """How often the program runs what an equation holds."""
    if name == "scan":
        return params["length"]
    if name == "shard_map":  # written for one device's share
        return math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    return 1
