"""Subjects found by SAM 2, in the real architecture with random weights."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from magdiff_jax import edit, generate
from magdiff_jax.conditioning import Shape
from magdiff_jax.errors import UserError

pytest.importorskip("torch")

from tests.data.prepare.tiny_models import write_sam2

CAT = skimage.data.chelsea()


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam2")
    write_sam2(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(CAT).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def arguments(picture: Path, *flags: object) -> list[str]:
    return ["--prompt=a cat", "--out=x.mp4", f"--subject={picture}", *map(str, flags)]


def test_generate_takes_what_sam_2_finds(tracker: Path, picture: Path) -> None:
    from magdiff_jax.data.prepare.models import place
    from magdiff_jax.data.prepare.sam2 import Sam2Tracker

    args = generate.make_parser().parse_args(arguments(picture, f"--matte={tracker}"))
    generate.check(args)
    source = generate.read(args)
    expected = Sam2Tracker(str(tracker), place(None, None)).track(CAT[None], (28, 19, 395, 262))
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(source.masks, expected[0])
    boxed = generate.make_parser().parse_args(arguments(picture, f"--matte={tracker}", "--subject-box=100,50,150,150"))
    assert (generate.read(boxed).masks != source.masks).any()


def test_edit_follows_it(tracker: Path, picture: Path) -> None:
    args = edit.make_parser().parse_args(["--prompt=x", "--out=x.mp4", f"--video={picture}", f"--matte={tracker}"])
    edit.check(args)
    source = edit.read(args, Shape(1, 16, 16))
    assert source.masks.shape == (1, *CAT.shape[:2])
    assert source.masks.any()


def test_mistakes(tracker: Path, picture: Path, tmp_path: Path) -> None:
    args = generate.make_parser().parse_args(arguments(picture, f"--matte={tracker}", f"--mask={picture}"))
    with pytest.raises(UserError, match="--matte finds the subject, --mask says where it is"):
        generate.check(args)
    (tmp_path / "config.json").write_text('{"model_type": "birefnet"}')
    other = generate.make_parser().parse_args(arguments(picture, f"--matte={tmp_path}"))
    with pytest.raises(UserError, match="it is of type birefnet; this stage takes sam2_video"):
        generate.read(other)
