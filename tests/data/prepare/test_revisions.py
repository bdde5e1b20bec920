import shutil

import pytest

from magdiff_jax.data.prepare.revisions import check, content, split, version
from magdiff_jax.errors import UserError


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("owner/name", ("owner/name", None)),
        ("owner/name@main", ("owner/name", "main")),
        ("en_core_web_sm@3.8.0", ("en_core_web_sm", "3.8.0")),
        ("/a@b/c", ("/a@b/c", None)),
        ("/a@b/c@1", ("/a@b/c", "1")),
        ("@x", ("@x", None)),
        ("x@", ("x@", None)),
    ],
)
def test_names_and_revisions(model, parts):
    assert split(model) == parts


def test_a_folder_may_have_the_sign_in_its_name(tmp_path):
    (tmp_path / "a@b").mkdir()
    assert split(f"{tmp_path}/a@b") == (f"{tmp_path}/a@b", None)
    assert split(f"{tmp_path}/a@b@1") == (f"{tmp_path}/a@b", "1")


def test_content_is_the_same_wherever_the_folder_lies_and_other_for_any_change(tmp_path):
    folder = tmp_path / "one"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "vocab.txt").write_text("a")
    large = bytearray(5 * 2**20)
    (folder / "weights").write_bytes(large)
    seen = [content(folder)]
    shutil.copytree(folder, tmp_path / "two")
    for extra in (folder / ".cache", folder / "__pycache__"):
        extra.mkdir()
        (extra / "x").touch()
    assert content(tmp_path / "two") == content(folder) == seen[0]
    for position in (0, -1):
        large[position] = 1
        (folder / "weights").write_bytes(large)
        seen.append(content(folder))
    (folder / "weights").write_bytes(large[:-1])
    seen.append(content(folder))
    (folder / "inner" / "vocab.txt").write_text("b")
    seen.append(content(folder))
    (folder / "inner" / "vocab.txt").rename(folder / "vocab.txt")
    seen.append(content(folder))
    assert len(set(seen)) == 6


def test_another_revision_is_refused_in_one_line():
    check("owner/name", "whatever")
    check("owner/name@1", "1")
    with pytest.raises(UserError, match=r"^model owner/name@1: here its revision is 2; give"):
        check("owner/name@1", "2")


def test_a_module_that_is_no_package_has_the_revision_of_its_folder(tmp_path):
    assert version("pytest", tmp_path) == pytest.__version__
    assert version("no_such_package", tmp_path) == content(tmp_path)
