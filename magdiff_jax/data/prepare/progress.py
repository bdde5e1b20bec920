"""A bar for work that others do, of which only the results can be counted."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def counted(count: Callable[[], int], total: int | None, unit: str) -> Iterator[None]:
    """Shows a bar while the body runs.

    Args:
        count: how many results there are.
        total: how many there will be; None where that is not known.
        unit: of them, for people.
    """
    done = threading.Event()

    def watch() -> None:
        took = 0.0
        with tqdm(total=total, unit=f" {unit}", disable=None) as bar:
            while True:
                # Counting may take seconds where there are very many: then it is done less often.
                last = done.wait(max(1.0, 20 * took))
                start = time.monotonic()
                bar.update(count() - bar.n)
                took = time.monotonic() - start
                if last:
                    return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
