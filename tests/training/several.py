"""Runs the command `train` several times in one process: `python tests/training/several.py FLAGS`.

FLAGS is JSON, a list of flags for each run. Prints status and standard error of each, as JSON.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

from magdiff_jax import commands, train


def run(flags: list[str]) -> tuple[object, str]:
    sys.argv[1:] = [f"--config={Path(__file__).with_name('tiny.py')}", *flags]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            commands.run(train.main)
        except SystemExit as end:
            return end.code, errors.getvalue()
    return 0, errors.getvalue()


if __name__ == "__main__":
    print(json.dumps([run(flags) for flags in json.loads(sys.argv[1])]))
