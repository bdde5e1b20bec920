"""Prompts to ids: padding, truncation with a warning, and folders that hold no tokenizer."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from magdiff_jax.errors import UserError
from magdiff_jax.tokenizer import FILES, Tokenizer, copy_files, learn_tokenizer

SPECIAL = 2


def words(count: int) -> str:
    return " ".join(["cat"] * count)


def test_ids_are_padded(tokenizer: Tokenizer) -> None:
    ids = tokenizer(["a cat", "", words(75)])
    assert (ids.shape, ids.dtype) == ((3, 77), np.int32)
    start, end, padding = ids[0, 0], ids[2, -1], ids[0, -1]
    assert len({start, end, padding}) == 3
    assert (ids[:, 0] == start).all()
    assert ids[0].tolist() == [start, *ids[0, 1:3], end, *[padding] * 73]
    assert ids[1].tolist() == [start, end, *[padding] * 75]
    assert len(set(ids[2, 1:-1])) == 1
    assert 0 <= ids.min() <= ids.max() < tokenizer.vocabulary


def test_words_and_case(tokenizer: Tokenizer) -> None:
    plain, shouted, other = tokenizer(["a tabby cat", "A  Tabby CAT", "a cat tabby"])
    np.testing.assert_array_equal(plain, shouted)
    assert (plain != other).any()


def test_a_prompt_that_just_fits_is_not_cut(tokenizer: Tokenizer) -> None:
    assert tokenizer([words(77 - SPECIAL)])[0, -1] == tokenizer([""])[0, 1]


def test_what_is_cut_off_is_quoted(tokenizer: Tokenizer) -> None:
    prompt = f"{words(74)} walking on the beach"
    expected = "the prompt has 80 tokens, the model takes 77; lost: 'on the beach'"
    with pytest.warns(UserWarning, match="lost") as caught:
        ids = tokenizer(["a cat", prompt])
    assert [str(warning.message) for warning in caught] == [expected]
    np.testing.assert_array_equal(ids[1], tokenizer([f"{words(74)} walking"])[0])


def test_a_copy_gives_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tokenizer.folder, source)
    (source / "README.md").write_text("not part of it")
    copy_files(source, tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").iterdir()} <= set(FILES)
    Tokenizer(tmp_path / "copy", 77).save(tmp_path / "again")
    prompts = ["a man on a bike", "a red fox"]
    np.testing.assert_array_equal(Tokenizer(tmp_path / "again", 77)(prompts), tokenizer(prompts))


@pytest.mark.parametrize("lost", [("vocab.json",), ("merges.txt",), FILES])
def test_a_folder_without_vocabulary_is_refused(tokenizer: Tokenizer, tmp_path: Path, lost: tuple[str, ...]) -> None:
    for path in tokenizer.folder.iterdir():
        if path.name not in lost:
            shutil.copy(path, tmp_path)
    with pytest.raises(UserError, match=f"^{tmp_path}: holds no CLIP tokenizer; it consists of vocab.json"):
        Tokenizer(tmp_path, 77)
    with pytest.raises(UserError, match="holds no CLIP tokenizer"):
        Tokenizer(tmp_path / "absent", 77)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_damaged_files_are_refused(tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    shutil.copytree(tokenizer.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_bytes(b"\xff{ no")
    with pytest.raises(UserError, match=f"^{tmp_path}: damaged or no CLIP tokenizer"):
        Tokenizer(tmp_path, 77)


def test_the_same_captions_give_the_same_tokenizer(tmp_path: Path) -> None:
    captions = ["a red fox runs", "the red box", "a fox in a box", "two foxes, three boxes"]
    for name in ("one", "other"):
        learn_tokenizer(captions, tmp_path / name, 300)
    for file in ("vocab.json", "merges.txt"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
