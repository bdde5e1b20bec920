"""Which tensors and which configuration each component has, among the files to convert."""

import dataclasses
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magdiff_jax.errors import UserError
from magdiff_jax.models import ResamplerConfig, UNetConfig
from magdiff_jax.weights import files, torch_configs
from magdiff_jax.weights.files import Tensor, Tensors
from magdiff_jax.weights.names import common_prefix, shown
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
# What each alignment adds to the U-Net's layers.
ALIGNMENTS = {"APA": r"\.attn2\.(to_[kv]_ip|\w+_cross_attention_scale)", "HFA": r"^hfa_projections\."}
# What Stable Diffusion, or VidRD, has not; each group may be absent as a whole.
FRESH_GROUPS = (r"\.temp_(convs|attn|norm)\.", *ALIGNMENTS.values())


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
        files: the files in use: weights and configurations.
    """

    def __init__(self, sources: Sources):
        if not sources.base.is_dir():
            raise UserError(f"{sources.base}: no such folder; --base is a Stable Diffusion folder in diffusers' layout")
        self.sources = sources
        self.files: list[Path] = list(sources.checkpoints)
        self._checkpoints = [_split(path) for path in sources.checkpoints]

    def parts(self, *, apa: bool, hfa_levels: tuple[int, ...]) -> dict[str, Part]:
        """All components; the vision tower only where a file has one.

        What belongs to an alignment that the model is not to have is left out, with a warning.
        """
        unet = self._unet(apa, hfa_levels)
        parts = {"unet": unet, "vae": self._vae(), "text_encoder": self._text_encoder()}
        if apa:
            parts |= self._vision()
            parts["resampler"] = self._resampler(unet.config, parts.get("vision"))
        else:
            for name in ("vision", "resampler"):
                for tensors in self._from_checkpoints(name):
                    _warn_left_out("APA", [PREFIXES[name] + key for key in tensors])
        return parts

    def _unet(self, apa: bool, hfa_levels: tuple[int, ...]) -> Part:
        path = self.sources.base / "unet" / "config.json"
        config = torch_configs.unet_config(self._json(path), str(path), apa=apa, hfa_levels=hfa_levels)
        sources = [_with_inputs(_without_absent(source, config), config) for source in self._overlaid("unet")]
        names = {name for source in sources for name in source}
        absent = [group for group in FRESH_GROUPS if not any(re.search(group, name) for name in names)]
        return Part(config, sources, "|".join(absent) or NOTHING)

    def _vae(self) -> Part:
        folder = self.sources.vae or self.sources.base / "vae"
        sources = [self._folder(folder)] if self.sources.vae else self._overlaid("vae")
        values = self._json(folder / "config.json")
        temporal = any(".temp_convs." in name for source in sources for name in source)
        config = torch_configs.vae_config({**values, "add_temp_conv": temporal}, str(folder / "config.json"))
        return Part(config, sources)

    def _text_encoder(self) -> Part:
        path = self.sources.base / "text_encoder" / "config.json"
        return Part(torch_configs.text_config(self._json(path), str(path)), self._overlaid("text_encoder"))

    def _vision(self) -> dict[str, Part]:
        path, open_clip = self.sources.vision, {}
        towers = self._from_checkpoints("vision")
        if path is not None:
            towers = [_without_ignored("vision", files.read_file(path))]
            self.files.append(path)
            beside = path.with_name("open_clip_config.json")
            open_clip = self._json(beside) if beside.is_file() else {}
        if not towers:
            return {}
        where = str(path) if path is not None else f"checkpoint's {PREFIXES['vision']}…"
        config = torch_configs.vision_config(_shapes(towers), open_clip, where, bgr=self.sources.bgr)
        strange = [key for tower in towers for key in tower if not key.startswith("visual.")]
        if strange:
            raise UserError(f"{where}: holds tensors that OpenCLIP has not: {shown(strange)}")
        return {"vision": Part(config, [_unprefixed(tower, "visual.") for tower in towers])}

    def _resampler(self, unet: UNetConfig, vision: Part | None) -> Part:
        found = self._from_checkpoints("resampler")
        if found:
            path = self.sources.base / "resampler" / "config.json"
            values = self._json(path) if path.is_file() else {}
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

    def _json(self, path: Path) -> dict[str, Any]:
        values = files.read_json(path)
        self.files.append(path)
        return values

    def _folder(self, folder: Path) -> Tensors:
        tensors, paths = files.read_folder(folder)
        self.files += paths
        return tensors


def _split(path: Path) -> dict[str, Tensors]:
    """A checkpoint's tensors by component. Raises UserError for a tensor of none of them."""
    tensors = files.read_file(path)
    strange = [key for key in tensors if not key.startswith(tuple(PREFIXES.values()))]
    if strange:
        components = ", ".join(PREFIXES.values())
        if (prefix := common_prefix(strange)) and len(strange) == len(tensors):
            raise UserError(f"{path}: all names begin with {prefix} and none with {components}; save it with these")
        raise UserError(f"{path}: holds tensors of no component ({components}): {shown(strange)}")
    return {name: _without_ignored(name, _unprefixed(tensors, prefix)) for name, prefix in PREFIXES.items()}


def _unprefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _without_ignored(name: str, tensors: Tensors) -> Tensors:
    pattern = IGNORED.get(name, NOTHING)
    return {key: tensor for key, tensor in tensors.items() if not re.search(pattern, key)}


def _shapes(sources: Sequence[Tensors]) -> dict[str, tuple[int, ...]]:
    return {key: tensor.shape for source in sources for key, tensor in source.items()}


def _without_absent(tensors: Tensors, config: UNetConfig) -> Tensors:
    """Without the layers of alignments that the network has not."""
    for name, is_there in (("APA", config.apa), ("HFA", bool(config.hfa_levels))):
        left_out = [key for key in tensors if not is_there and re.search(ALIGNMENTS[name], key)]
        _warn_left_out(name, left_out)
        tensors = {key: tensor for key, tensor in tensors.items() if key not in left_out}
    return tensors


def _with_inputs(tensors: Tensors, config: UNetConfig) -> Tensors:
    """With a `conv_in` for what the network takes.

    One for the noise alone is widened by zeros for the subject's latents, so that it computes the same; one for both is
    cut where there is no HFA.
    """
    kernel = tensors.get("conv_in.weight")
    noise, both = config.latent_channels, 2 * config.latent_channels
    if kernel is None or kernel.shape[1:2] not in ((noise,), (both,)) or kernel.shape[1] == config.in_channels:
        return tensors
    if config.in_channels == noise:
        _warn_left_out("HFA", [f"conv_in.weight's inputs {noise} to {both - 1}"])

    def load() -> np.ndarray:
        kept = kernel.load()[:, : config.in_channels]
        return np.pad(kept, ((0, 0), (0, config.in_channels - kept.shape[1]), (0, 0), (0, 0)))

    shape = (kernel.shape[0], config.in_channels, *kernel.shape[2:])
    return {**tensors, "conv_in.weight": Tensor(shape, kernel.dtype, load)}


def _warn_left_out(alignment: str, names: Sequence[str]) -> None:
    if names:
        more = f", … ({len(names)} in all)" if len(names) > 1 else ""
        warnings.warn(f"left out, as the model is to have no {alignment}: {names[0]}{more}", stacklevel=2)
