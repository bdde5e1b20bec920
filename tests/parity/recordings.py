"""Recordings of the authors' code: where they are, what they hold, and the networks that they are of."""

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from magdiff_jax.models import Component, ResamplerConfig, VisionConfig, build
from magdiff_jax.weights import torch_configs
from magdiff_jax.weights.convert import to_params
from magdiff_jax.weights.files import Tensor

FIXTURES = Path(__file__).parents[1] / "fixtures"
# Text tokens come first in a recorded context, the image-prompt tokens after them.
TEXT_TOKENS = 77


class Recording:
    """One file: `config`, the weights under `state/`, `inputs` and `outputs` by their names."""

    def __init__(self, path: Path):
        self.path = path
        with safe_open(path, "numpy") as file:
            self.config: dict[str, Any] = json.loads(file.metadata()["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.state, self.inputs, self.outputs = (
            {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
            for part in ("state/", "in/", "out/")
        )

    def beside(self, name: str) -> "Recording | None":
        """The recording of that name in the same folder, which may be absent."""
        path = self.path.with_name(f"{name}.safetensors")
        return Recording(path) if path.is_file() else None

    @property
    def apa(self) -> bool:
        return any(".to_k_ip." in name for name in self.state)

    @property
    def hfa(self) -> bool:
        return self.config["in_channels"] > self.config.get("out_channels", 4)

    @cached_property
    def component(self) -> Component:
        """The recorded network, built from the recording's config and filled by the converter."""
        name, prefix = self._kind()
        config = {
            "unet": lambda: torch_configs.unet_config(
                self.config, self.path.name, apa=self.apa, hfa_levels=(256,) if self.hfa else ()
            ),
            "vae": lambda: torch_configs.vae_config(self.config, self.path.name),
            "text_encoder": lambda: torch_configs.text_config(self.config, self.path.name),
            "vision": lambda: VisionConfig.from_dict(self.config),
            "resampler": lambda: ResamplerConfig.from_dict(self.config),
        }[name]()
        tensors = {
            key.removeprefix(prefix): Tensor(array.shape, array.dtype, lambda array=array: array)
            for key, array in self.state.items()
        }
        network = build(name, config)
        return Component(network, to_params(network, [tensors], self.path.name, dtype="float32"))

    def _kind(self) -> tuple[str, str]:
        marks = {
            "unet": ("conv_norm_out.weight", ""),
            "vae": ("post_quant_conv.weight", ""),
            "text_encoder": ("final_layer_norm.weight", ""),
            "vision": ("visual.conv1.weight", "visual."),
            "resampler": ("proj_in.weight", ""),
        }
        # transformers writes CLIP's text tower with and without this prefix.
        names = {key.removeprefix("text_model.") for key in self.state}
        return next((name, prefix) for name, (mark, prefix) in marks.items() if mark in names)


def recordings(*needed: str) -> list[Any]:
    """Those recordings that hold all of these tensors (`state/…`, `in/…` or `out/…`), as test parameters."""
    import pytest

    chosen = os.environ.get("MAGDIFF_FIXTURES")
    folders = [Path(chosen)] if chosen else [FIXTURES, FIXTURES / "extra"]
    found = []
    for path in sorted(path for folder in folders for path in folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            if set(needed) <= set(file.keys()):
                found.append(pytest.param(path, id=path.stem))
    return found


def channels_last(array: np.ndarray) -> np.ndarray:
    """PyTorch's [batch, channel, …] → [batch, …, channel], in float32."""
    return np.moveaxis(array, 1, -1).astype(np.float32)


def assert_close(ours: Any, recorded: np.ndarray, tolerance: float) -> None:
    """Largest absolute difference, on the recorded scale."""
    ours = np.asarray(ours, np.float64)
    assert ours.shape == recorded.shape
    difference = np.abs(ours - recorded).max()
    assert difference <= tolerance, f"differs by {difference:.2e}, more than {tolerance:.0e}"
