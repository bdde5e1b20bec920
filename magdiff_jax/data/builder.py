"""Write sources as record data sets: the TFDS builder that all of them share."""

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from magdiff_jax.data.clip import CATEGORIES, Source
from magdiff_jax.data.records import encode
from magdiff_jax.data.shards import split_info, write_split
from magdiff_jax.errors import UserError


def features() -> tfds.features.FeaturesDict:
    """The schema of all records. Its fields are described in data/README.md."""
    text = tfds.features.Text
    return tfds.features.FeaturesDict(
        {
            "id": text(),
            "source": text(),
            # Encoded pictures are bytes, which TFDS calls text; so a reader decodes only the frames it needs.
            "frames": tfds.features.Sequence(text()),
            "masks": tfds.features.Sequence(text()),
            "areas": tfds.features.Sequence(np.float32),
            "size": tfds.features.Tensor(shape=(2,), dtype=np.int32),
            "fps": np.float32,
            "caption": text(),
            "augmented_caption": text(),
            "label": text(),
            "category": tfds.features.ClassLabel(names=CATEGORIES),
            "provenance": text(),
        }
    )


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set of clips. A subclass says in `sources` where they come from.

    Its docstring is the data set's description. Files that are downloaded by hand are looked for in TFDS's
    `manual_dir`. The records are ArrayRecord files, which `tfds.data_source`, Grain and `records.RecordSource` read.
    """

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded, so there are no checksums, which TFDS would look for beside the builder's module.
    url_infos: ClassVar[dict[str, Any]] = {}
    HOMEPAGE: str | None = None
    CITATION: str | None = None
    # Terms of use, in a sentence.
    LICENSE: str | None = None

    def __init__(self, **kwargs: Any):
        super().__init__(file_format="array_record", **kwargs)

    @abstractmethod
    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        """The source of each split."""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=inspect.getdoc(type(self)),
            features=features(),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            license=self.LICENSE,
        )

    def _generate_splits(self, dl_manager: Any, download_config: Any) -> list[Any]:
        """Each split's records, written one after the other. TFDS's own writer would shuffle them (`data.shards`)."""
        manual = Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else Path()
        most = download_config.max_examples_per_split
        return [self._write(split, source, most) for split, source in self.sources(manual).items()]

    def _write(self, split: str, source: Source, most: int | None) -> Any:
        template, schema, ids = self._get_filename_template(split_name=split), self.info.features, set[str]()

        def records() -> Iterator[bytes]:
            for index in tqdm(range(len(source))[:most], split, unit=" clips", disable=None):
                example = encode(source[index])
                if example["id"] in ids:
                    raise UserError(f"{split}: two clips have the id {example['id']!r}: rename one")
                ids.add(example["id"])
                yield schema.serialize_example(schema.encode_example(example))

        def name(index: int, count: int) -> str:
            return template.sharded_filepath(shard_index=index, num_shards=count).name

        return split_info(split, write_split(Path(template.data_dir), name, records()), template)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        raise NotImplementedError("splits are written by _generate_splits")

    def _generate_examples(self, **kwargs: Any) -> Iterator:
        raise NotImplementedError("splits are written by _generate_splits")
