"""The frozen encoders' outputs as records, read in the place of clips: training's steps do without the encoders.

A folder of ArrayRecord files, each with the same number of examples in order; a record is a safetensors file of
one example's arrays, its clip's id and its prompt. `caching` makes it.

In the first pass the example at a position is the one that stands there in the loader's stream, with the same prompt
dropped and the same noise, so that the losses equal those of a run without a cache. Later passes go through the same
examples in other orders, with new noise and other prompts dropped.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors.numpy import save

from magdiff_jax.config import Config, ConfigError
from magdiff_jax.data.loader import ENDLESS, Loader, LoaderConfig, drops_prompt
from magdiff_jax.errors import UserError
from magdiff_jax.tokenizer import FILES
from magdiff_jax.training.diffusion import Encoded, halves
from magdiff_jax.training.trainer import Trainer
from magdiff_jax.weights import directory
from magdiff_jax.weights.files import parse_safetensors, read_json, sha256

MARK = "cache.json"
FORMAT = "magdiff_jax cache 1"
# Of an example these follow from its position, which is another one in each pass.
_LEFT_OUT: Any = {"unprompted": None, "positions": None}
AGAIN = "delete it and run python -m magdiff_jax.cache again"


@dataclasses.dataclass(frozen=True)
class CacheConfig(Config):
    """What a cache holds; `cache.json`.

    Attributes:
        examples: how many.
        examples_per_file: in every file but the last.
        origin: all that decides their numbers; see `origin`.
        format: of the files.
    """

    examples: int
    examples_per_file: int
    origin: Mapping[str, Any]
    format: str = FORMAT

    def __post_init__(self) -> None:
        self._require_positive("examples", "examples_per_file")
        self._require("format", self.format == FORMAT, repr(FORMAT))

    def files(self, folder: Path) -> list[Path]:
        """All files, in the order of their examples."""
        count = -(-self.examples // self.examples_per_file)
        return [folder / f"encoded.array_record-{index:05}-of-{count:05}" for index in range(count)]

    def size(self, file: int) -> int:
        """Examples in a file."""
        return min(self.examples_per_file, self.examples - file * self.examples_per_file)


class Cached(NamedTuple):
    """A batch of a cache; or an example, without the first axis.

    Attributes:
        encoded: NumPy arrays.
        ids: of the clips.
        prompts: theirs; empty where dropped.
    """

    encoded: Encoded
    ids: tuple[str, ...]
    prompts: tuple[str, ...]


# What a cache follows from


def encoders_of(trainer: Trainer) -> tuple[str, ...]:
    """The frozen components whose outputs are cached."""
    unet: Any = trainer.networks["unet"].config
    return ("vae", "text_encoder", *(["vision"] if unet.apa else []))


def origin(trainer: Trainer) -> dict[str, Any]:
    """What decides a cache's numbers, as far as it is known without weights; JSON."""
    precision = trainer.config.precision
    values = {
        "data": trainer.loader_config(prompt_dropout=0.0).decisive(),
        "precision": {"compute": precision.compute, "frozen": precision.frozen},
        "arrays": {
            name: [str(leaf.dtype), *leaf.shape[1:]] for name, leaf in to_arrays(abstract_encoded(trainer)).items()
        },
    }
    return json.loads(json.dumps(values))


def origin_of_weights(fingerprints: Mapping[str, str], tokenizer: Path) -> dict[str, Any]:
    """The rest of what decides them: fingerprints of the encoders, and the tokenizer's files."""
    sums = {name: sha256(tokenizer / name) for name in FILES if (tokenizer / name).is_file()}
    tokens = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
    return {"encoders": dict(fingerprints), "tokenizer": tokens}


def check_same(folder: Path, config: CacheConfig, ours: Mapping[str, Any]) -> None:
    """Raises UserError, naming the first difference, where something in a cache's origin is other than ours."""
    theirs = {key: config.origin.get(key) for key in ours}
    if ours != theirs:
        where = ".".join(_difference(ours, theirs))
        raise UserError(f"cache {folder}: made with another {where}; take the config of then, or make another cache")


def _difference(one: Any, other: Any) -> list[str]:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return []
    key = next(key for key in (*one, *other) if one.get(key) != other.get(key))
    return [key, *_difference(one.get(key), other.get(key))]


# Records


def abstract_encoded(trainer: Trainer) -> Encoded:
    """A batch of what the encoders make, as shapes."""
    return jax.eval_shape(trainer.encode, trainer.abstract_frozen(), trainer.abstract_inputs())


def to_arrays(encoded: Encoded) -> dict[str, Any]:
    """The encoders' own arrays, by name."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(encoded._replace(**_LEFT_OUT))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def to_record(arrays: Mapping[str, np.ndarray], identifier: str, prompt: str) -> bytes:
    """One example's record."""
    texts = {name: np.frombuffer(text.encode(), np.uint8) for name, text in (("id", identifier), ("prompt", prompt))}
    return save({**arrays, **texts})


class CachedSource:
    """A cache's examples by their place, without what follows from positions.

    Raises:
        UserError: when one is read, that its file is damaged.
    """

    def __init__(self, folder: Path, config: CacheConfig, like: Encoded):
        """`like`: a batch of examples as shapes, which the records must have."""
        self._config = config
        self._files = config.files(folder)
        self._arrays = to_arrays(like)
        self._readers: dict[int, Any] = {}
        self._structure = jax.tree.structure(like._replace(**_LEFT_OUT))

    def __len__(self) -> int:
        return self._config.examples

    def __getitem__(self, index: int) -> Cached:
        file, place = divmod(index, self._config.examples_per_file)
        try:
            values = parse_safetensors(self._reader(file)[place])
            identifier, prompt = (values.pop(name).tobytes().decode() for name in ("id", "prompt"))
            found = {name: (value.dtype, value.shape) for name, value in values.items()}
            if found != {name: (leaf.dtype, leaf.shape[1:]) for name, leaf in self._arrays.items()}:
                raise ValueError("a record holds other arrays")
        except (RuntimeError, IndexError, KeyError, ValueError) as error:  # ArrayRecord's, and ours
            raise UserError(f"{self._files[file]}: damaged ({' '.join(str(error).split())[:200]}); {AGAIN}") from None
        encoded = jax.tree.unflatten(self._structure, [values[name] for name in self._arrays])
        return Cached(encoded, (identifier,), (prompt,))

    def _reader(self, file: int) -> Any:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        # One for each file, so that it is known which one is damaged.
        if file not in self._readers:
            reader = ArrayRecordDataSource([str(self._files[file])])
            if len(reader) != (size := self._config.size(file)):
                raise ValueError(f"it has {len(reader)} records and not {size}")
            self._readers[file] = reader
        return self._readers[file]


# Reading


def read_cache(trainer: Trainer) -> CacheConfig:
    """The description of the run's cache, checked as far as can be without weights.

    Raises:
        UserError: it is not there, not finished, damaged, too small or made with other data or of another precision.
    """
    folder = Path(trainer.config.cache)
    config = read_description(folder)
    check_same(folder, config, origin(trainer))
    if missing := [file.name for file in config.files(folder) if not file.is_file()]:
        raise UserError(
            f"cache {folder}: lacks {len(missing)} of its files ({missing[0]}); the command that made it goes on"
        )
    if config.examples < trainer.config.batch_size:
        raise UserError(f"cache {folder}: {config.examples} examples, and batch_size is {trainer.config.batch_size}")
    return config


def read_description(folder: Path) -> CacheConfig:
    """What `cache.json` says. Raises UserError where there is none."""
    if not (folder / MARK).is_file():
        raise UserError(f"cache {folder}: no {MARK} in it; make one with python -m magdiff_jax.cache")
    try:
        return CacheConfig.from_dict(read_json(folder / MARK))
    except (ConfigError, TypeError) as error:
        raise UserError(f"{folder / MARK}: {error}; {AGAIN}") from None


def cached_loader(trainer: Trainer, start: Path, process: int, processes: int) -> Loader[Cached]:
    """The loader of a run with a cache; its state is that of a run without.

    Args:
        trainer: of the run.
        start: MagDiff folder that the run started from.
        process: see `make_loader`.
        processes: see `make_loader`.

    Raises:
        UserError: as `read_cache`, or the cache was made by other encoders.
    """
    import grain

    folder, config = Path(trainer.config.cache), read_cache(trainer)
    stored = directory.read_description(start).fingerprints
    fingerprints = {name: stored[name] for name in encoders_of(trainer)}
    check_same(folder, config, origin_of_weights(fingerprints, start / "tokenizer"))

    # Bytes become arrays in no time: threads are enough.
    loader = dataclasses.replace(trainer.loader_config(), workers=0)
    source = CachedSource(folder, config, abstract_encoded(trainer))
    first = grain.MapDataset.source(source)
    later = first.seed(loader.seed).shuffle() if loader.shuffle else first
    stream = grain.MapDataset.concatenate([first, later.repeat()[: ENDLESS - len(first)]])
    return Loader(loader, stream.map_with_index(_Example(loader)), _join, process, processes)


class _Example:
    """Makes the example at a position from a cached one."""

    def __init__(self, config: LoaderConfig):
        self._config = config

    def __call__(self, position: int, cached: Cached) -> Cached:
        prompts = ("",) if drops_prompt(self._config, position) else cached.prompts
        arrays: Any = {"unprompted": np.array(prompts == ("",)), "positions": halves(np.array(position, np.int64))}
        return Cached(cached.encoded._replace(**arrays), cached.ids, prompts)


def _join(examples: Sequence[Cached]) -> Cached:
    """Examples side by side."""
    encoded = jax.tree.map(lambda *leaves: np.stack(leaves), *(example.encoded for example in examples))
    ids, prompts = (sum(texts, ()) for texts in zip(*(example[1:] for example in examples), strict=True))
    return Cached(encoded, ids, prompts)
