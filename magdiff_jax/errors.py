"""The one kind of error that is the user's to mend."""


class UserError(Exception):
    """A mistake the user can mend: a missing file, an impossible flag, a damaged checkpoint.

    Its text is one line that says what was wrong and what to do. Commands print that line to
    stderr and exit with status 2; every other exception is a fault of the program.
    """
