"""Questions that come while a device is at work, and so make batches."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from magdiff_jax.data.prepare import shared
from magdiff_jax.data.prepare.shared import Shared

torch = pytest.importorskip("torch")


def asked_together(
    ask: Callable[[Any], Any], questions: Sequence[Any], network: type, size: Callable[[Any], int]
) -> tuple[list[Any], list[int]]:
    """The answers to questions that wait for the CPU at the same time, and the sizes of the batches.

    Args:
        ask: in a thread of its own for each.
        questions: one for each call.
        network: whose runs are looked at.
        size: what it returns → how large the batch was.
    """
    sizes = []

    def look(module: Any, _: Any, found: Any) -> None:
        if isinstance(module, network):
            sizes.append(size(found))

    free = threading.Event()
    holder: Shared[None, None] = Shared(lambda device: free, ["cpu"], lambda free, items: [free.wait() and None])
    hook = torch.nn.modules.module.register_module_forward_hook(look)
    try:
        with ThreadPoolExecutor(len(questions) + 1) as threads:
            held = threads.submit(holder, None)
            answers = [threads.submit(ask, question) for question in questions]
            end = time.monotonic() + 60
            while waiting() < len(questions) and time.monotonic() < end:
                time.sleep(0.01)
            free.set()
            held.result()
            return [answer.result() for answer in answers], sizes
    finally:
        hook.remove()


def waiting() -> int:
    """How many items wait for the CPU."""
    return sum(len(queue.jobs) for queue in shared._threads["cpu"].queues)
