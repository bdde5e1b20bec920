"""The exact revision of a model, after its name and an "@".

A commit of the model hub ("Salesforce/blip2-opt-2.7b@" and 40 digits), the content of a folder ("/models/blip2@" and 16
digits), or the version of an installed package ("en_core_web_sm@3.8.0").
"""

import hashlib
import importlib.metadata
import os
from pathlib import Path

from magdiff_jax.errors import UserError, refusals_told

# Of a file of more than two such parts, the first and the last are read.
_PART = 2**20


def split(model: str) -> tuple[str, str | None]:
    """Name and revision of a model; None where it has none, as all that is the name of a folder."""
    name, _, revision = model.rpartition("@")
    if not name or not revision or "/" in revision or Path(model).is_dir():
        return model, None
    return name, revision


def check(model: str, found: str) -> None:
    """Raises UserError where a model has a revision and another one is found."""
    _, revision = split(model)
    if revision not in (None, found):
        raise UserError(
            f"model {model}: here its revision is {found}; give every machine the same one, or begin a new run"
        )


def pinned_folder(folder: Path) -> str:
    """The absolute path of a folder with its revision."""
    return f"{os.path.abspath(folder)}@{content(folder)}"


def content(folder: Path) -> str:
    """A fingerprint of what a folder holds, 16 hexadecimal digits.

    It is of the names, sizes and contents of all files, hidden ones and compiled Python aside. Of files of more than
    2 MiB only the first and the last MiB count: weights of many gigabytes would take minutes.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    with refusals_told():
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if any(part.startswith((".", "__pycache__")) for part in name.parts) or not path.is_file():
                continue
            size = path.stat().st_size
            digest.update(os.fsencode(name.as_posix()) + f"\0{size}\0".encode())
            with path.open("rb") as file:
                if size <= 2 * _PART:
                    digest.update(file.read())
                else:
                    digest.update(file.read(_PART))
                    file.seek(-_PART, os.SEEK_END)
                    digest.update(file.read(_PART))
    return digest.hexdigest()[:16]


def version(package: str, folder: Path) -> str:
    """The version of an installed package; of a module that is no package's, the fingerprint of its folder."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return content(folder)
