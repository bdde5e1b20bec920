"""Text in files: UTF-8, whoever wrote it; JSON; and what no UTF-8 can hold.

A Python string may hold lone surrogates: halves of a character, which a cut at a length limit leaves and JSON can say
("\\ud83d"), and the bytes of file names that are not UTF-8 ("caf\\udce9.png" for Latin-1's café.png). JSON that is
written here says them so again; a prompt or caption must not have any.
"""

import json
from typing import Any, NamedTuple

from magdiff_jax.errors import UserError, refusal

# Python reads JSON to about a thousand, and fails to copy, pickle or print it well before that.
_DEEPEST = 100


def read_text(path: Any) -> str:
    """A file's text, without the mark (BOM) that some programs put in front; lines end in "\\n".

    Raises:
        UserError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {refusal(error)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text (byte {error.start}): save it as UTF-8") from None


class TextFile(NamedTuple):
    """A text file in a folder, not read yet.

    Attributes:
        path: of the file.
        folder: that it must lie in.
    """

    path: Any
    folder: Any

    def read(self) -> str:
        """Its text, see `read_text`.

        Videos and pictures may be links that lead elsewhere: what is none is not decoded. But any text would be taken,
        a private key as well as a caption, and get into records and models.

        Raises:
            UserError: as `read_text`; or it is a link that leads out of the folder.
        """
        if not self.path.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"{self.path} is a link that leads out of {self.folder}: put a copy of the text there")
        return read_text(self.path)


def read_lines(path: Any) -> list[str]:
    """The same by lines. Text may hold other characters that Unicode counts as ends of lines, as JSON's strings do."""
    return read_text(path).split("\n")


def parse_json(text: str, where: str) -> Any:
    """What a JSON text says.

    Args:
        text: of one value.
        where: it is from, for errors.

    Raises:
        UserError: it is malformed, or has lists and objects more than 100 deep or a number of thousands of digits.
    """
    deep = UserError(f"{where} is no JSON that is read: it has lists or objects more than {_DEEPEST} deep")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is no JSON: {error}") from None
    except ValueError:
        raise UserError(f"{where} is no JSON that is read: it has a number of too many digits") from None
    except RecursionError:
        raise deep from None
    if text.count("[") + text.count("{") > _DEEPEST and _is_deep(value):
        raise deep
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST + 1):
        outer = [each for each in level if isinstance(each, dict | list)]
        if not outer:
            return False
        level = [inner for each in outer for inner in (each.values() if isinstance(each, dict) else each)]
    return True


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON that UTF-8 can hold and that is read as the same value, lone surrogates among it."""
    return printable(json.dumps(value, ensure_ascii=False, indent=indent))


def printable(text: str) -> str:
    """A text that UTF-8 can hold: lone surrogates are written as JSON writes them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_whole(text: str, what: str) -> None:
    """Raises UserError where a text has a lone surrogate; `what` it is, for the message."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = printable(text[error.start])
        raise UserError(f"{what} has half a character ({half}, number {error.start + 1}): take it out") from None
