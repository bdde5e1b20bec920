"""The errors that are told in one line: what the user can mend, and what stopped a run."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake the user can mend: a missing file, an impossible flag, a damaged checkpoint.

    Its text is one line that says what was wrong and what to do. Commands print that line to
    stderr and exit with status 2; every other exception is a fault of the program.
    """


class Stopped(Exception):
    """What ended a run and is no mistake of the user's: a machine that fails, too many errors.

    Its text is one line that says why and what is kept. Commands print that line to stderr and exit with status 1.
    """


@contextmanager
def refusals_told() -> Iterator[None]:
    """What the operating system refuses within becomes a UserError that names the file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a library's own, in which the system has no part
            raise
        name = error.filename2 or error.filename
        where = f"{os.fsdecode(name)}: " if isinstance(name, str | bytes | os.PathLike) else ""
        raise UserError(f"{where}{refusal(error)}") from error


def refusal(error: OSError) -> str:
    """Why the operating system refuses something, and what to do."""
    advice = {
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there"),
        **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "change the permissions, or choose another place"),
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    return f"{error.strerror or error}; {advice.get(error.errno or 0, 'check the path')}"
