"""Which tensors and which configuration each component has, among the files to convert."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.models import ResamplerConfig, UNetConfig
from magdiff_jax.weights import files, torch_configs
from magdiff_jax.weights.files import Tensor, Tensors
from magdiff_jax.weights.table import NOTHING

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
FRESH_GROUPS = (
    r"\.temp_(convs|attn|norm)\.",
    r"\.attn2\.(to_[kv]_ip|\w+_cross_attention_scale)",
    r"^hfa_projections\.",
)


@dataclasses.dataclass(frozen=True)
class Sources:
    """The files to convert.

    Attributes:
        base: a Stable Diffusion folder in diffusers' layout.
        checkpoints: VidRD's `ModelT2V.pth`, `MagDiff.pth`, …; a later one's tensors replace an earlier one's.
        vae: folder of a VAE to take instead of any other.
        vision: file with OpenCLIP's vision tower, to take instead of any other.
        bgr: the model was trained on images as OpenCV reads them, as the released code does.
    """

    base: Path
    checkpoints: Sequence[Path] = ()
    vae: Path | None = None
    vision: Path | None = None
    bgr: bool = False


class Part(NamedTuple):
    """A component to be.

    Attributes:
        config: of its network.
        tensors: what it is made of, by PyTorch's names; later ones replace earlier ones.
        may_lack: pattern of the names that start fresh where no file has them.
    """

    config: Any
    tensors: Sequence[Tensors]
    may_lack: str = NOTHING


class Reader:
    """Finds each component's tensors and configuration; every method raises UserError for files that do not fit.

    Attributes:
        files: the checkpoint files in use.
    """

    def __init__(self, sources: Sources):
        if not sources.base.is_dir():
            raise UserError(f"{sources.base}: no such folder; --base is a Stable Diffusion folder in diffusers' layout")
        self.sources = sources
        self.files: list[Path] = list(sources.checkpoints)
        self._checkpoints = [_split(path) for path in sources.checkpoints]

    def parts(self, *, apa: bool, hfa_levels: tuple[int, ...]) -> dict[str, Part]:
        """All components; the vision tower only where a file has one."""
        unet = self._unet(apa, hfa_levels)
        parts = {"unet": unet, "vae": self._vae(), "text_encoder": self._text_encoder()}
        if apa:
            parts |= self._vision()
            parts["resampler"] = self._resampler(unet.config, parts.get("vision"))
        elif resamplers := self._from_checkpoints("resampler"):
            raise UserError(f"without APA there is no place for {PREFIXES['resampler']}{next(iter(resamplers[0]))}, …")
        return parts

    def _unet(self, apa: bool, hfa_levels: tuple[int, ...]) -> Part:
        path = self.sources.base / "unet" / "config.json"
        config = torch_configs.unet_config(files.read_json(path), str(path), apa=apa, hfa_levels=hfa_levels)
        sources = [_widened(source, config) for source in self._overlaid("unet")]
        names = {name for source in sources for name in source}
        absent = [group for group in FRESH_GROUPS if not any(re.search(group, name) for name in names)]
        return Part(config, sources, "|".join(absent) or NOTHING)

    def _vae(self) -> Part:
        folder = self.sources.vae or self.sources.base / "vae"
        sources = [self._folder(folder)] if self.sources.vae else self._overlaid("vae")
        values = files.read_json(folder / "config.json")
        temporal = any(".temp_convs." in name for source in sources for name in source)
        config = torch_configs.vae_config({**values, "add_temp_conv": temporal}, str(folder / "config.json"))
        return Part(config, sources)

    def _text_encoder(self) -> Part:
        path = self.sources.base / "text_encoder" / "config.json"
        return Part(torch_configs.text_config(files.read_json(path), str(path)), self._overlaid("text_encoder"))

    def _vision(self) -> dict[str, Part]:
        path, open_clip = self.sources.vision, {}
        towers = self._from_checkpoints("vision")
        if path is not None:
            towers = [_without_ignored("vision", files.read_file(path))]
            self.files.append(path)
            beside = path.with_name("open_clip_config.json")
            open_clip = files.read_json(beside) if beside.is_file() else {}
        if not towers:
            return {}
        where = str(path) if path is not None else f"checkpoint's {PREFIXES['vision']}…"
        config = torch_configs.vision_config(_shapes(towers), open_clip, where, bgr=self.sources.bgr)
        strange = [key for tower in towers for key in tower if not key.startswith("visual.")]
        if strange:
            raise UserError(f"{where}: holds tensors that OpenCLIP has not: {', '.join(strange)}")
        return {"vision": Part(config, [_unprefixed(tower, "visual.") for tower in towers])}

    def _resampler(self, unet: UNetConfig, vision: Part | None) -> Part:
        found = self._from_checkpoints("resampler")
        if found:
            path = self.sources.base / "resampler" / "config.json"
            values = files.read_json(path) if path.is_file() else {}
            return Part(torch_configs.resampler_config(_shapes(found), values, str(path)), found)
        width = ResamplerConfig.embedding_dim if vision is None else vision.config.width
        out = unet.cross_attention_dim
        return Part(ResamplerConfig(dim=out, embedding_dim=width, output_dim=out), [], may_lack="")

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
    strange = [key for key in tensors if not key.startswith(tuple(PREFIXES.values()))]
    if strange:
        raise UserError(f"{path}: holds tensors of no component ({', '.join(PREFIXES.values())}): {', '.join(strange)}")
    return {name: _without_ignored(name, _unprefixed(tensors, prefix)) for name, prefix in PREFIXES.items()}


def _unprefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _without_ignored(name: str, tensors: Tensors) -> Tensors:
    pattern = IGNORED.get(name, NOTHING)
    return {key: tensor for key, tensor in tensors.items() if not re.search(pattern, key)}


def _shapes(sources: Sequence[Tensors]) -> dict[str, tuple[int, ...]]:
    return {key: tensor.shape for source in sources for key, tensor in source.items()}


def _widened(tensors: Tensors, config: UNetConfig) -> Tensors:
    """With a `conv_in` for the noise alone widened by zeros for the subject's latents, so that it computes the same."""
    kernel = tensors.get("conv_in.weight")
    extra = config.in_channels - config.latent_channels
    if kernel is None or extra == 0 or kernel.shape[1:2] != (config.latent_channels,):
        return tensors

    def load() -> np.ndarray:
        return np.pad(kernel.load(), ((0, 0), (0, extra), (0, 0), (0, 0)))

    shape = (kernel.shape[0], config.in_channels, *kernel.shape[2:])
    return {**tensors, "conv_in.weight": Tensor(shape, kernel.dtype, load)}
