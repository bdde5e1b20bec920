"""What a training run follows from. Everything is checked here before a device is touched."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from magdiff_jax.config import COMPUTE_DTYPES, Config, ConfigError
from magdiff_jax.data.loader import LoaderConfig
from magdiff_jax.diffusion.schedule import ScheduleConfig
from magdiff_jax.models import COMPONENTS
from magdiff_jax.sharding.mesh import MeshConfig
from magdiff_jax.sharding.rules import check_rules
from magdiff_jax.training.optimizer import OptimizerConfig

OBJECTIVES = ("diffusion", "vae", "clip")
# Of the loader's settings, those that follow from the model.
_DERIVED = {"batch_size", "levels", "latent_multiple", "coverage"}


@dataclasses.dataclass(frozen=True)
class StartConfig(Config):
    """Where a run's weights start.

    Attributes:
        folder: a MagDiff folder (`tools/convert_torch_weights.py`, or an earlier run's); empty: nothing to start from.
        networks: configurations of components that are not the folder's own: they start fresh, and take over what the
            folder's component of this name has in the same shape. `conv_in` is widened by zeros, so that a
            text-to-video model starts as MagDiff (as the authors' does).
        tokenizer: a tokenizer's folder, where `folder` has none; "captions": learnt from the captions of the data.
    """

    folder: str = ""
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokenizer: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.networks) - set(COMPONENTS))
        self._require("networks", not unknown, f"of {sorted(COMPONENTS)}, not {unknown}")
        self._require("folder", bool(self.folder or self.networks), "a MagDiff folder, or networks must be given")
        if not self.folder:
            lacking = sorted({"unet", "vae", "text_encoder"} - set(self.networks))
            self._require("networks", not lacking, f"with {', '.join(lacking)} too, as there is no folder")
            self._require("tokenizer", bool(self.tokenizer), "given, as there is no folder")


@dataclasses.dataclass(frozen=True)
class PrecisionConfig(Config):
    """Types of numbers. Trainable parameters, their gradients and the optimizer's state are float32 in any case; norms,
    softmax and loss are computed in float32.

    Attributes:
        compute: of the networks: float32, bfloat16 (TPUs, GPUs from the A100 on) or float16 (V100). float16 brings
            dynamic loss scaling (Micikevicius et al. 2018, section 3.2).
        frozen: that frozen parameters are held in.
        loss_scale: float16's first loss scale.
        growth_interval: steps without overflow after which the loss scale doubles; an overflow halves it.
    """

    compute: str = "float32"
    frozen: str = "float32"
    loss_scale: float = 2.0**16
    growth_interval: int = 2000

    def __post_init__(self) -> None:
        self._require("compute", self.compute in COMPUTE_DTYPES, f"one of {COMPUTE_DTYPES}")
        self._require("frozen", self.frozen in COMPUTE_DTYPES, f"one of {COMPUTE_DTYPES}")
        self._require_number("loss_scale", 1, 2.0**24)
        self._require_positive("growth_interval")


@dataclasses.dataclass(frozen=True)
class ImagesConfig(Config):
    """One-frame clips among the videos (VidRD trains on both); the temporal layers pass them by.

    Attributes:
        share: of the steps that take a batch of images, spread evenly, 0 … 1.
        sources: of the images, as `LoaderConfig.sources`.
        batch_size: images of a step.
    """

    share: float = 0.0
    sources: tuple[Mapping[str, Any], ...] = ()
    batch_size: int = 1

    def __post_init__(self) -> None:
        self._require_number("share", 0, 1)
        self._require_positive("batch_size")
        if self.share:
            self._require("sources", len(self.sources) > 0, "at least one source, as share is above 0")

    def is_turn(self, step: int) -> bool:
        """Whether the step after so many is one of images."""
        return int((step + 1) * self.share) > int(step * self.share)


@dataclasses.dataclass(frozen=True)
class ValidationConfig(Config):
    """Loss on the same clips with the same noise every time, and sample clips.

    Attributes:
        sources: as `LoaderConfig.sources`; empty: no validation, no samples.
        every: steps from one validation to the next.
        batches: of the training's size.
        sample_every: steps from one set of sample clips to the next; 0: none.
        samples: clips to generate, and as many to edit; rounded up to what the devices share evenly.
        sampling_steps: DDIM steps.
        guidance_scale: of classifier-free guidance.
    """

    sources: tuple[Mapping[str, Any], ...] = ()
    every: int = 500
    batches: int = 4
    sample_every: int = 2500
    samples: int = 4
    sampling_steps: int = 50
    guidance_scale: float = 7.5

    def __post_init__(self) -> None:
        self._require_positive("every", "batches", "samples", "sampling_steps")
        self._require_number("sample_every", 0)
        self._require_number("guidance_scale", 0)


@dataclasses.dataclass(frozen=True)
class CheckpointConfig(Config):
    """When a run is saved.

    Attributes:
        every: steps from one checkpoint to the next.
        keep: how many of the last ones stay; the one with the lowest validation loss stays too.
    """

    every: int = 1000
    keep: int = 3

    def __post_init__(self) -> None:
        self._require_positive("every", "keep")


@dataclasses.dataclass(frozen=True)
class TrainConfig(Config):
    """A training run.

    Attributes:
        objective: "diffusion": the U-Net and the resampler; "vae": the VAE; "clip": both CLIP towers.
        steps: optimizer steps of the whole run.
        batch_size: clips a step, of all devices together.
        accumulate: parts that a batch is worked off in, one after the other; the result is the whole batch's.
        seed: of fresh parameters, noise, timesteps and dropout.
        start: where the weights start.
        trainable: (pattern, True or False) rules over all parameters; see `sharding.rules`.
        data: settings of `LoaderConfig` but those that follow from the model.
        cache: folder of the frozen encoders' outputs, made by `python -m magdiff_jax.cache`; empty: they run in every
            step.
        schedule: of the training's noise.
        sampling: schedule of the run's samples and of the model that is exported.
        min_snr_gamma: γ of min-SNR weighting (Hang et al. 2023); 0: all timesteps weigh the same.
        timestep_shift: s of the training's timesteps s·t / (1 + (s - 1)·t) of t spread evenly (Esser et al. 2024, eq.
            23): above 1 more of the noisy ones, which decide what a clip shows; 1: all alike.
        subject_weight: of the squared errors where the subject is, beside 1 where it is not; each clip's weights are
            divided by their mean. 1: the paper's loss.
        kl_weight: of the VAE's Kullback-Leibler term beside the sum of a picture's squared errors (Rombach et al. 2022,
            appendix G, and its released code).
        remat: compute each layer's activations again in the backward pass instead of keeping them.
        sharding: (pattern, axes) rules; see `sharding.mesh.leaf_shardings`.
        log_every: steps from one log entry to the next.
    """

    objective: str
    steps: int
    batch_size: int
    start: StartConfig
    trainable: tuple[tuple[str, bool], ...]
    data: Mapping[str, Any]
    accumulate: int = 1
    seed: int = 0
    images: ImagesConfig = field(default_factory=ImagesConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    cache: str = ""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    sampling: ScheduleConfig = field(default_factory=ScheduleConfig)
    min_snr_gamma: float = 0.0
    timestep_shift: float = 1.0
    subject_weight: float = 1.0
    kl_weight: float = 1e-6
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    remat: bool = True
    mesh: MeshConfig = field(default_factory=MeshConfig)
    sharding: tuple[tuple[str, tuple[Any, ...]], ...] = (("rest", ()),)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    log_every: int = 50

    def __post_init__(self) -> None:
        self._require("objective", self.objective in OBJECTIVES, f"one of {OBJECTIVES}")
        self._require_positive("steps", "batch_size", "accumulate", "log_every")
        self._require_number("seed", 0, 2**32 - 1)
        self._require_number("min_snr_gamma", 0)
        self._require_number("timestep_shift", 0)
        self._require("timestep_shift", self.timestep_shift > 0, "above 0")
        self._require_number("subject_weight", 0)
        self._require("subject_weight", self.subject_weight > 0, "above 0")
        self._require_number("kl_weight", 0)
        sizes = [self.batch_size, *([self.images.batch_size] if self.images.share else [])]
        self._require("accumulate", not any(size % self.accumulate for size in sizes), f"a divisor of {sizes}")
        self._require("steps", self.steps > self.optimizer.warmup_steps, "more than optimizer.warmup_steps")
        same = self.schedule.prediction_type == self.sampling.prediction_type
        self._require("sampling", same, "of the prediction_type of schedule")
        check_rules("trainable", self.trainable)
        check_rules("sharding", self.sharding)
        for pattern, value in self.trainable:
            if not isinstance(value, bool):
                raise ConfigError(f"trainable: {pattern!r}: {value!r} must be True or False")
        if given := sorted(_DERIVED & set(self.data)):
            raise ConfigError(f"data.{given[0]}: follows from other settings and the model; leave it away")
        if self.objective != "diffusion" and (self.images.share or self.cache):
            raise ConfigError(f"objective = {self.objective!r}: takes neither images.share nor cache")
        if self.objective == "clip" and self.accumulate > 1:
            raise ConfigError("accumulate: objective 'clip' compares all pairs of a batch; leave it at 1")
        if self.cache and self.images.share:
            raise ConfigError("cache: holds no images; leave images.share at 0, or cache empty")
        LoaderConfig.from_dict({**self.data, "batch_size": self.batch_size})

    def check_devices(self, devices: int) -> None:
        """Raises ConfigError where this run cannot be shared out among so many devices."""
        data, fsdp, _ = self.mesh.shape(devices)
        parts = data * fsdp * self.accumulate
        sizes = {"batch_size": self.batch_size}
        if self.images.share:
            sizes["images.batch_size"] = self.images.batch_size
        for key, size in sizes.items():
            if size % parts:
                raise ConfigError(
                    f"{key} = {size}: must be a multiple of {parts} ({data * fsdp} devices with clips of their own, "
                    f"{self.accumulate} parts)"
                )

    def fingerprint(self) -> str:
        """Of all that decides the numbers of a run: not the mesh, nor what is logged, checked and kept."""
        values = self.to_dict()
        for key in ("steps", "mesh", "sharding", "checkpoints", "log_every", "validation", "remat", "cache"):
            del values[key]
        for key in ("threads", "workers", "buffer"):
            values["data"].pop(key, None)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
