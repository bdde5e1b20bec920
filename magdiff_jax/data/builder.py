"""Write sources as record data sets: the TFDS builder that all of them share."""

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from magdiff_jax.data.clip import CATEGORIES, Source
from magdiff_jax.data.records import encode


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

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        # `manual_dir` is asked for only where something is downloaded by hand: TFDS insists that it is there.
        manual = Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else Path()
        return {split: self._generate_examples(source) for split, source in self.sources(manual).items()}

    def _generate_examples(self, source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
        for index in range(len(source)):
            example = encode(source[index])
            yield example["id"], example
