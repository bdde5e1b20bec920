"""The U-Net beside PyTorch's: same weights, same inputs, in alternation."""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.cases import TIMESTEP, Size
from benchmarks.measure import timed
from magdiff_jax.models.network import Network, Params, flatten
from magdiff_jax.weights.table import table


class Comparison(NamedTuple):
    """Median seconds of PyTorch, median of the ratios JAX / PyTorch, largest difference over largest output."""

    size: str
    torch_seconds: float
    ratio: float
    runs: int
    difference: float


def unavailable() -> str | None:
    """Why PyTorch cannot be measured here, or None."""
    if jax.default_backend() != "cpu":
        return "PyTorch is compared on CPUs only"
    try:
        import diffusers  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        return f"no comparison with PyTorch: {error.name} is not installed (pip install torch diffusers)"
    return None


def torch_unet(size: Size, network: Network, params: Params) -> Any:
    """PyTorch's U-Net on copies of our weights, each in the memory layout that PyTorch prefers, without dropout."""
    import torch

    from benchmarks.torch_unet import TorchUNet

    config = dataclasses.asdict(size.unet)
    config |= {"attention_head_dim": list(size.unet.num_attention_heads), "in_channels": size.unet.in_channels}
    unet = TorchUNet(config, apa=True).eval().to(getattr(torch, network.dtype))
    theirs, ours = unet.state_dict(), dict(flatten(params))
    for entry in table(network):
        array = np.array(ours[entry.path], np.float32)
        theirs.pop(entry.name).copy_(torch.from_numpy(entry.layout.to_torch(array)))
    if theirs:
        raise ValueError(f"parameters without a counterpart: {sorted(theirs)}")
    return unet


def torch_inputs(inputs: tuple[Any, ...], dtype: str) -> tuple[Any, ...]:
    """Noise, text, image and subject as PyTorch's U-Net takes them: sample, timesteps, context."""
    import torch

    noise, text, image, subject = (np.asarray(array, np.float32) for array in inputs)
    sample = np.moveaxis(np.concatenate([noise, subject], axis=-1), -1, 1)
    arrays = np.ascontiguousarray(sample), np.concatenate([text, image], axis=1)
    sample, context = (torch.from_numpy(array).to(getattr(torch, dtype)) for array in arrays)
    return sample, torch.full((len(noise),), TIMESTEP), context


def torch_forward(size: Size, network: Network, params: Params, inputs: tuple[Any, ...]) -> Callable[[], np.ndarray]:
    """PyTorch's forward pass."""
    import torch

    unet, arrays = torch_unet(size, network, params), torch_inputs(inputs, network.dtype)

    def forward() -> np.ndarray:
        with torch.inference_mode():
            return unet(*arrays).float().numpy()

    return forward


def compare(size: str, ours: Callable[[], Any], theirs: Callable[[], np.ndarray], runs: int) -> Comparison:
    """Time both in turn, after a look that they compute the same.

    Raises:
        ValueError: they differ by more than rounding explains.
    """
    expected = np.moveaxis(theirs(), 1, -1)
    result = ours()
    difference = float(np.abs(np.asarray(result, np.float32) - expected).max() / np.abs(expected).max())
    allowed = 1e-3 if result.dtype == np.float32 else 0.1
    if difference > allowed:
        raise ValueError(f"JAX and PyTorch differ by {difference:.2g} of the largest output: allowed is {allowed}")
    return _race(size, ours, theirs, runs, difference)


def compare_losses(
    size: str, loss: float, ours: Callable[[], Any], theirs: Callable[[], float], runs: int
) -> Comparison:
    """Time training steps in turn, after a look that the first losses, ours being `loss`, agree to four digits.

    Raises:
        ValueError: they do not.
    """
    expected = theirs()
    difference = abs(loss - expected) / expected
    if difference > 1e-4:
        raise ValueError(f"the first losses differ: {loss} of JAX, {expected} of PyTorch")
    return _race(size, ours, theirs, runs, difference)


def line(comparison: Comparison, compared: str) -> str:
    """For the table; `compared`: what was looked at."""
    return (
        f"{comparison.size}: JAX / PyTorch {comparison.ratio:.2f} ({comparison.runs} pairs, PyTorch "
        f"{comparison.torch_seconds:.4f} s, {compared} equal to {comparison.difference:.0e})"
    )


def _race(size: str, ours: Callable[[], Any], theirs: Callable[[], Any], runs: int, difference: float) -> Comparison:
    pairs = [(timed(ours), timed(theirs)) for _ in range(runs)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return Comparison(size, statistics.median(theirs for _, theirs in pairs), ratio, runs, difference)
