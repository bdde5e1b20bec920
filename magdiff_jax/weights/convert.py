"""PyTorch's files → a MagDiff folder.

Parameters that no file has start as the released code starts them: temporal layers as no change (their last
projection is zero), `conv_in` widened for the subject latents, APA's projections and the resampler fresh.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from magdiff_jax import tokenizer
from magdiff_jax.config import Config
from magdiff_jax.errors import UserError
from magdiff_jax.models import Network, Params, ResamplerConfig, UNetConfig, build
from magdiff_jax.models.network import Path as ParameterPath
from magdiff_jax.models.network import unflatten
from magdiff_jax.replacing import check_replaceable, replacing
from magdiff_jax.weights import directory, files, torch_configs
from magdiff_jax.weights.files import Tensor, Tensors
from magdiff_jax.weights.table import match, new_name, table

# Where a Lightning checkpoint of the released code has each component.
PREFIXES = {
    "unet": "unet.",
    "vae": "vae.",
    "text_encoder": "text_encoder.",
    "vision": "entity_clip_model.model.",
    "resampler": "enclip_projector.",
}
# What the files may have that is no parameter of ours: a buffer, and CLIP's text tower beside the vision tower.
IGNORED = {
    "text_encoder": r"\.position_ids$",
    "vision": r"^(transformer\.|token_embedding\.|positional_embedding$|ln_final\.|text_projection$|logit_|attn_mask$)",
}
# What Stable Diffusion, or VidRD, has not; each group may be absent as a whole.
FRESH_GROUPS = (r"\.temp_(convs|attn|norm)\.", r"\.attn2\.(to_[kv]_ip|\w+_cross_attention_scale)", r"^hfa_projections\.")

DTYPES = ("source", "float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Sources:
    """The files to convert.

    Attributes:
        base: a Stable Diffusion folder in diffusers' layout.
        checkpoints: VidRD's `ModelT2V.pth`, `MagDiff.pth`, …; a later one's tensors replace an earlier one's.
        vae: folder of a VAE to take instead of any other.
        vision: file with OpenCLIP's vision tower.
        bgr: the model was trained on images as OpenCV reads them, as the released code does.
    """

    base: Path
    checkpoints: Sequence[Path] = ()
    vae: Path | None = None
    vision: Path | None = None
    bgr: bool = False


class Part(NamedTuple):
    """A component to be: its configuration, and the tensors it is made of, by PyTorch's names."""

    config: Config
    tensors: Sequence[Tensors]
    may_lack: str = "$^"


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
    """Convert to a MagDiff folder.

    Args:
        out: the folder to make; replaced if it is there.
        dtype: that the parameters are stored in; "source": each as its file has it.
        hfa_levels: HFA's pyramid; empty: no HFA.
        apa, sda: whether the model has these alignments.
        seed: of the parameters that start fresh.

    Raises:
        UserError: a file is missing, unreadable or of another architecture.
    """
    if not apa and not hfa_levels:
        raise UserError("APA and HFA cannot both be off: nothing would carry the subject")
    check_replaceable(out, directory.MARK)
    reader = Reader(sources)
    schedule_path = sources.base / "scheduler" / "scheduler_config.json"
    schedule = torch_configs.schedule_config(files.read_json(schedule_path), str(schedule_path))
    parts = {
        "unet": reader.unet(apa=apa, hfa_levels=hfa_levels),
        "vae": reader.vae(),
        "text_encoder": reader.text_encoder(),
    }
    if apa:
        parts |= reader.image_prompts(parts["unet"].config)
    model = directory.ModelConfig(
        resolution=hfa_levels[-1] if hfa_levels else directory.ModelConfig.resolution,
        sda=sda,
        old_attention_names=any(new_name(key) != key for tensors in parts["vae"].tensors for key in tensors),
        sources={f"{path.parent.name}/{path.name}": files.sha256(path) for path in tqdm(reader.files, "checksums")},
    )
    with replacing(out) as new:
        new.mkdir()
        tokenizer.copy_files(sources.base / "tokenizer", new / "tokenizer")
        fingerprints = {}
        for name, part in parts.items():
            params = to_params(build(name, part.config), part.tensors, name, part.may_lack, dtype, seed)
            fingerprints[name] = directory.write_component(new, name, part.config, params)
        directory.write_description(new, model, schedule, fingerprints)


def to_params(
    network: Network,
    sources: Sequence[Tensors],
    what: str,
    may_lack: str = "$^",
    dtype: str = "source",
    seed: int = 0,
) -> Params:
    """A network's parameters as NumPy arrays, from tensors by PyTorch's names; what may lack and does starts fresh.

    Takes the memory of the parameters and of one tensor more. Raises UserError as `match` does.
    """
    entries = table(network)
    found = match(entries, sources, what=what, may_lack=may_lack)
    fresh_paths = [entry.path for entry in entries if entry.name not in found]
    fresh = dict(zip(fresh_paths, network.init_leaves(jax.random.key(seed), fresh_paths), strict=True))
    fresh_dtype = np.result_type(*{found[name].dtype for name in found}) if found and dtype == "source" else None

    def leaves() -> Iterator[tuple[ParameterPath, np.ndarray]]:
        for entry in tqdm(entries, what, unit="tensor"):
            if entry.name in found:
                array, kept = entry.layout.to_ours(found[entry.name].load()), found[entry.name].dtype
            else:
                array, kept = np.asarray(fresh.pop(entry.path)), fresh_dtype or np.dtype(np.float32)
            yield entry.path, np.array(array, dtype=kept if dtype == "source" else dtype, order="C")

    return unflatten(leaves())


class Reader:
    """Finds each component's tensors and configuration among the sources.

    Attributes:
        files: the checkpoint files in use.
    """

    def __init__(self, sources: Sources):
        if not sources.base.is_dir():
            raise UserError(f"{sources.base}: no such folder; --base is a Stable Diffusion folder in diffusers' layout")
        self.sources = sources
        self.files: list[Path] = list(sources.checkpoints)
        self._checkpoints = [_split(path) for path in sources.checkpoints]

    def unet(self, *, apa: bool, hfa_levels: tuple[int, ...]) -> Part:
        path = self.sources.base / "unet" / "config.json"
        config = torch_configs.unet_config(files.read_json(path), str(path), apa=apa, hfa_levels=hfa_levels)
        sources = [_widened(source, config) for source in self._overlaid("unet")]
        names = {name for source in sources for name in source}
        absent = [group for group in FRESH_GROUPS if not any(re.search(group, name) for name in names)]
        return Part(config, sources, "|".join(absent) or "$^")

    def vae(self) -> Part:
        folder = self.sources.vae or self.sources.base / "vae"
        sources = [self._folder(folder)] if self.sources.vae else self._overlaid("vae")
        values = files.read_json(folder / "config.json")
        temporal = any(".temp_convs." in name for source in sources for name in source)
        config = torch_configs.vae_config({**values, "add_temp_conv": temporal}, str(folder / "config.json"))
        return Part(config, sources)

    def text_encoder(self) -> Part:
        path = self.sources.base / "text_encoder" / "config.json"
        return Part(torch_configs.text_config(files.read_json(path), str(path)), self._overlaid("text_encoder"))

    def image_prompts(self, unet: UNetConfig) -> dict[str, Part]:
        """The vision tower, where a file has one, and the resampler, fresh where no checkpoint has it."""
        towers, resamplers = self._from_checkpoints("vision"), self._from_checkpoints("resampler")
        open_clip = {}
        if self.sources.vision is not None:
            towers = [_without_ignored("vision", files.read_file(self.sources.vision))]
            self.files.append(self.sources.vision)
            beside = self.sources.vision.parent / "open_clip_config.json"
            open_clip = files.read_json(beside) if beside.is_file() else {}
        parts = {}
        width = ResamplerConfig.embedding_dim
        if towers:
            vision = torch_configs.vision_config(_shapes(towers), open_clip, str(self.sources.vision or "checkpoint"))
            width = vision.width
            vision = dataclasses.replace(vision, bgr=self.sources.bgr)
            parts["vision"] = Part(vision, [_unprefixed(tower, "visual.") for tower in towers])
        if resamplers:
            path = self.sources.base / "resampler" / "config.json"
            values = files.read_json(path) if path.is_file() else {}
            parts["resampler"] = Part(torch_configs.resampler_config(_shapes(resamplers), values, str(path)), resamplers)
        else:
            out = unet.cross_attention_dim
            parts["resampler"] = Part(ResamplerConfig(dim=out, embedding_dim=width, output_dim=out), [], "")
        return parts

    def _overlaid(self, name: str) -> list[Tensors]:
        """A component from the base folder, overlaid with the checkpoints'; either may lack it."""
        folder, overlays = self.sources.base / name, self._from_checkpoints(name)
        if overlays and not files.has_weights(folder):
            return overlays
        return [_without_ignored(name, self._folder(folder)), *overlays]

    def _from_checkpoints(self, name: str) -> list[Tensors]:
        return [parts[name] for parts in self._checkpoints if parts[name]]

    def _folder(self, folder: Path) -> Tensors:
        tensors, paths = files.read_folder(folder)
        self.files += paths
        return tensors


def _split(path: Path) -> dict[str, Tensors]:
    """A checkpoint's tensors by component. Raises UserError for a tensor of none of them."""
    tensors = files.read_file(path)
    parts = {name: _without_ignored(name, _unprefixed(tensors, prefix)) for name, prefix in PREFIXES.items()}
    strange = [key for key in tensors if not key.startswith(tuple(PREFIXES.values()))]
    if strange:
        raise UserError(
            f"{path}: holds tensors of no component ({', '.join(PREFIXES.values())}): {', '.join(strange[:10])}"
            + (f" and {len(strange) - 10} more" if len(strange) > 10 else "")
        )
    return parts


def _unprefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _without_ignored(name: str, tensors: Tensors) -> Tensors:
    pattern = IGNORED.get(name, "$^")
    return {key: tensor for key, tensor in tensors.items() if not re.search(pattern, key)}


def _shapes(sources: Sequence[Tensors]) -> dict[str, tuple[int, ...]]:
    return {key: tensor.shape for source in sources for key, tensor in source.items()}


def _widened(tensors: Tensors, config: UNetConfig) -> Tensors:
    """With a `conv_in` for the noise alone widened by zeros for the subject's latents, so that it computes the same."""
    kernel = tensors.get("conv_in.weight")
    if kernel is None or config.in_channels == config.latent_channels or kernel.shape[1:2] != (config.latent_channels,):
        return tensors
    extra = config.in_channels - config.latent_channels

    def load() -> np.ndarray:
        return np.pad(kernel.load(), ((0, 0), (0, extra), (0, 0), (0, 0)))

    shape = (kernel.shape[0], config.in_channels, *kernel.shape[2:])
    return {**tensors, "conv_in.weight": Tensor(shape, kernel.dtype, load)}
