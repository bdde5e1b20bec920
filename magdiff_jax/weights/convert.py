"""PyTorch's files → a MagDiff folder.

Parameters that no file has start as the released code starts them: temporal layers as no change (their last
projection is zero), `conv_in` widened for the subject latents, APA's projections and the resampler fresh.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from magdiff_jax import tokenizer
from magdiff_jax.errors import UserError
from magdiff_jax.models import Network, Params, build
from magdiff_jax.models.network import Path as ParameterPath
from magdiff_jax.models.network import unflatten
from magdiff_jax.replacing import check_replaceable, replacing
from magdiff_jax.weights import directory, files, torch_configs
from magdiff_jax.weights.files import Tensors
from magdiff_jax.weights.sources import Part, Reader, Sources
from magdiff_jax.weights.table import NOTHING, match, table, table_name

DTYPES = ("source", "float32", "bfloat16", "float16")


def from_torch(
    sources: Sources,
    out: Path,
    *,
    dtype: str = "source",
    hfa_levels: tuple[int, ...] = (256,),
    apa: bool = True,
    sda: bool = True,
    seed: int = 0,
) -> None:
    """Convert to a MagDiff folder, and print the SHA-256 of each file that it is made of, as `sha256sum` does.

    Args:
        out: the folder to make; replaced if it is there.
        dtype: that the parameters are stored in, one of DTYPES; "source": each as its file has it.
        hfa_levels: HFA's pyramid; empty: no HFA.
        apa, sda: whether the model has these alignments; one with neither APA nor HFA makes videos of text alone.
        seed: of the parameters that start fresh.

    Raises:
        UserError: a file is missing, unreadable or of another architecture, or is for an alignment that is left out.
    """
    if not apa and (sources.vision is not None or sources.bgr):
        raise UserError("--vision and --bgr are for APA: leave them out, or --without apa")
    check_replaceable(out, directory.MARK)
    reader = Reader(sources)
    schedule_path = sources.base / "scheduler" / "scheduler_config.json"
    schedule = torch_configs.schedule_config(files.read_json(schedule_path), str(schedule_path))
    tokenizer_folder = sources.base / "tokenizer"
    words = tokenizer.Tokenizer(tokenizer_folder, 2).vocabulary
    parts = reader.parts(apa=apa, hfa_levels=hfa_levels)
    resolution = hfa_levels[-1] if hfa_levels else directory.ModelConfig.resolution
    check_fit({name: part.config for name, part in parts.items()}, words, resolution)
    model = directory.ModelConfig(
        resolution=resolution,
        sda=sda,
        other_names=tuple(name for name, part in parts.items() if _has_other_names(part.tensors)),
        sources=_checksums([*reader.files, schedule_path, *tokenizer.files_of(tokenizer_folder)]),
    )
    with replacing(out) as new:
        new.mkdir()
        tokenizer.copy_files(tokenizer_folder, new / "tokenizer")
        fingerprints = {name: _convert(new, name, part, dtype, seed) for name, part in parts.items()}
        directory.write_description(new, model, schedule, fingerprints)


def _checksums(paths: Sequence[Path]) -> dict[str, str]:
    """Folder and name of each file by its SHA-256."""
    sums = {}
    for path in tqdm(paths, "checksums"):
        sums[digest := files.sha256(path)] = "/".join(path.absolute().parts[-2:])
        tqdm.write(f"{digest}  {path}")
    return sums


def _convert(folder: Path, name: str, part: Part, dtype: str, seed: int) -> str:
    """Write one component and return its fingerprint; its memory is free again afterwards."""
    params = to_params(build(name, part.config), part.tensors, name, part.may_lack, dtype, seed)
    return directory.write_component(folder, name, part.config, params)


def to_params(
    network: Network,
    sources: Sequence[Tensors],
    what: str,
    may_lack: str = NOTHING,
    dtype: str = "source",
    seed: int = 0,
) -> Params:
    """A network's parameters as NumPy arrays, from tensors by PyTorch's names.

    What may lack and does starts fresh, with "source" in the type of the others or, where they differ, in float32.
    Takes the memory of the parameters and of one tensor more. Raises UserError as `match` does.
    """
    entries = table(network)
    found = match(entries, sources, what=what, may_lack=may_lack)
    arrays: dict[ParameterPath, np.ndarray] = {}

    fresh = [entry.path for entry in entries if entry.name not in found]
    dtypes = {tensor.dtype for tensor in found.values()}
    fresh_dtype = dtype if dtype != "source" else dtypes.pop() if len(dtypes) == 1 else np.float32
    leaves = network.init_leaves(jax.random.key(seed), fresh) if fresh else []
    for path in reversed(fresh):
        arrays[path] = np.array(leaves.pop(), dtype=fresh_dtype, order="C")

    for entry in tqdm(entries, what, unit="tensor"):
        if entry.name in found:
            tensor = found[entry.name]
            ours = entry.layout.to_ours(tensor.load())
            arrays[entry.path] = np.array(ours, dtype=tensor.dtype if dtype == "source" else dtype, order="C")
    return unflatten((entry.path, arrays[entry.path]) for entry in entries)


def _has_other_names(sources: Sequence[Tensors]) -> bool:
    return any(table_name(key) != key for tensors in sources for key in tensors)


def check_fit(configs: Mapping[str, Any], words: int, resolution: int) -> None:
    """Raises UserError where components do not fit one another.

    Args:
        configs: of the components by name.
        words: tokens that the tokenizer knows.
        resolution: height and width in pixels.
    """
    unet, vae, text = configs["unet"], configs["vae"], configs["text_encoder"]
    needed = [
        (
            "the text encoder's hidden_size",
            text.hidden_size,
            "the U-Net's cross_attention_dim",
            unet.cross_attention_dim,
        ),
        ("the VAE's latent_channels", vae.latent_channels, "the U-Net's out_channels", unet.latent_channels),
    ]
    if resampler := configs.get("resampler"):
        needed.append(
            ("the resampler's width", resampler.output_dim, "the U-Net's cross_attention_dim", unet.cross_attention_dim)
        )
    if vision := configs.get("vision"):
        needed.append(
            ("the vision tower's width", vision.width, "the resampler's input", configs["resampler"].embedding_dim)
        )
    for ours, size, theirs, other in needed:
        if size != other:
            raise UserError(f"the networks do not belong together: {ours} is {size}, {theirs} {other}")
    if words > text.vocab_size:
        raise UserError(f"the tokenizer knows {words} tokens, the text encoder {text.vocab_size}: not from one model")
    if resolution % vae.downscale:
        raise UserError(
            f"a resolution of {resolution} pixels (the last of HFA's levels): must be a multiple of {vae.downscale}"
        )
