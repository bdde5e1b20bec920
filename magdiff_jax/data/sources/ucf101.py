"""UCF-101 (Soomro et al., 2012): 13,320 videos of 101 human actions, in three folds of training and test videos."""

import re
from pathlib import Path

from magdiff_jax.config import ConfigError
from magdiff_jax.data.clip import Clip
from magdiff_jax.data.files import open_clip
from magdiff_jax.data.sources.layout import first_there, inside, read_lines
from magdiff_jax.errors import UserError
from magdiff_jax.places import Place, place

SPLITS = ("train", "test")
FOLDS = (1, 2, 3)
OBTAIN = (
    "unpack UCF101.rar (to UCF-101/) and UCF101TrainTestSplits-RecognitionTask.zip (to ucfTrainTestlist/) in it; "
    "see data/README.md"
)


class Ucf101Source:
    """The videos of one split, each a clip whose caption is its action in words; the subject is not known.

    Args:
        folder: with `UCF-101/<Class>/v_<Class>_g01_c01.avi` and `ucfTrainTestlist/`.
        split: "train" or "test".
        fold: which of the three divisions in train and test, 1 to 3.

    Raises:
        ConfigError: another split or fold.
        UserError: the folder is not laid out like this.
    """

    def __init__(self, folder: str | Path, split: str = "train", fold: int = 1):
        if split not in SPLITS or fold not in FOLDS:
            raise ConfigError(f"UCF-101 split {split!r}, fold {fold}: must be one of {', '.join(SPLITS)}, and 1 to 3")
        top = place(folder)
        self._fold = fold
        self._videos = first_there(top, ("UCF-101",), "UCF-101's videos", OBTAIN)
        lists = first_there(top, ("ucfTrainTestlist",), "UCF-101's lists", OBTAIN)
        self._numbers = _read_classes(lists / "classInd.txt")
        # A training list has the class's number after each name.
        names = [line.split()[0] for line in read_lines(lists / f"{split}list{fold:02}.txt")]
        unknown = [name for name in names if name.partition("/")[0] not in self._numbers]
        if not names or unknown:
            raise UserError(f"{lists} lists {unknown[0] if unknown else 'no videos'}: {OBTAIN}")
        self._paths = [inside(self._videos, name) for name in names]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Clip:
        path = self._paths[index]
        action = path.parent.name
        provenance = {
            "caption": {"from": "class"},
            "class": action,
            "class_number": self._numbers[action],
            "fold": self._fold,
        }
        return open_clip(path, id=path.stem, source="ucf101", caption=in_words(action), provenance=provenance)


def _read_classes(path: Place) -> dict[str, int]:
    try:
        return {name: int(number) for number, name in map(str.split, read_lines(path))}
    except ValueError:
        raise UserError(f"{path} is no list of numbers and classes, such as 1 ApplyEyeMakeup") from None


def in_words(name: str) -> str:
    """A class's name as a caption: "ApplyEyeMakeup" is "apply eye makeup"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
