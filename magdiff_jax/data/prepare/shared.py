"""What the threads of a process have in common: models, and for each device one thread that runs them."""

import atexit
import itertools
import json
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Made = TypeVar("Made")


class Shared(Generic[Item, Result]):
    """A model on one or more devices, run for any thread that calls.

    Each device has one thread, which makes the model there when it is first needed, and which runs all models of this
    device, batch after batch: that which has waited longest comes first, whichever model it is for. All devices of a
    model take from one queue. When nothing refers to it any more, its models are dropped, and a device's thread ends
    with its last model.

    Args:
        make: a device → the model on it. It must not refer to what holds this object, which would then never be
            dropped.
        devices: as `models.devices` names them.
        call: the model and 1 to `most` items → their results, in their order.
        most: items in a batch.
        alike: an item → what all items of a batch have in common, such as a size.
    """

    def __init__(
        self,
        make: Callable[[str], Any],
        devices: Sequence[str],
        call: Callable[[Any, list[Any]], Sequence[Any]],
        most: int = 1,
        alike: Callable[[Any], Hashable] | None = None,
    ) -> None:
        self._alike = alike
        self._queue = _Queue(make, call, most)
        with _changed:
            for device in devices:
                if device not in _threads:
                    _threads[device] = _DeviceThread(device)
                    _threads[device].start()
                _threads[device].queues.append(self._queue)
        weakref.finalize(self, _close, self._queue)

    def __call__(self, item: Item) -> Result:
        """The item's result, waited for.

        Raises:
            Exception: what `make` or `call` raises. A batch that fails is run once more item by item, so that each
                caller learns what its own item does.
        """
        job = _Job(next(_numbers), self._alike(item) if self._alike else None, item, Future())
        with _changed:
            self._queue.jobs.append(job)
            _changed.notify_all()
        return job.result.result()


def once(make: Callable[[Mapping[str, Any]], Made], spec: Mapping[str, Any]) -> Made:
    """What `make` returns for `spec`, made when it is first asked for, as long as anything refers to it.

    Args:
        make: of anything that many threads may use.
        spec: of what JSON has.
    """
    key = make, json.dumps(spec, sort_keys=True)
    with _making:
        made = _made.get(key)
        if made is None:
            made = _made[key] = make(spec)
        return made


class _Job(NamedTuple):
    number: int
    kind: Hashable
    item: Any
    result: Future


class _Queue:
    """What waits for one model."""

    def __init__(self, make: Callable[[str], Any], call: Callable[[Any, list[Any]], Sequence[Any]], most: int) -> None:
        self.make, self.call, self._most = make, call, most
        self.jobs: list[_Job] = []
        self.closed = False

    def take(self) -> list[_Job]:
        """The oldest job with those that make a batch with it."""
        batch = [job for job in self.jobs if job.kind == self.jobs[0].kind][: self._most]
        taken = {job.number for job in batch}
        self.jobs = [job for job in self.jobs if job.number not in taken]
        return batch

    def run(self, model: Any, batch: list[_Job]) -> None:
        try:
            results = self.call(model, [job.item for job in batch])
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} results for {len(batch)} items")
            for job, result in zip(batch, results, strict=True):
                job.result.set_result(result)
            return
        except BaseException as error:
            if len(batch) == 1:
                batch[0].result.set_exception(error)
                return
        # After the handler, since the error holds what the batch took of the device's memory.
        for job in batch:
            self.run(model, [job])


class _DeviceThread(threading.Thread):
    """Runs all models of one device. A daemon, since callers may be gone before their models are dropped."""

    def __init__(self, device: str) -> None:
        super().__init__(name=f"models on {device}", daemon=True)
        self.queues: list[_Queue] = []
        self._device = device
        self._models: dict[_Queue, Any] = {}

    def run(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """Wait for a batch and run it; False where no queue is left. A step of its own, lest the last batch be held."""
        work = self._next()
        if work is None:
            return False
        queue, batch = work
        try:
            if queue not in self._models:
                self._models[queue] = queue.make(self._device)
        except BaseException as error:
            for job in batch:
                job.result.set_exception(error)
        else:
            queue.run(self._models[queue], batch)
        return True

    def _next(self) -> tuple[_Queue, list[_Job]] | None:
        with _changed:
            while True:
                self.queues = [queue for queue in self.queues if not queue.closed]
                self._models = {queue: model for queue, model in self._models.items() if not queue.closed}
                if not self.queues:
                    del _threads[self._device]
                    return None
                waiting = [queue for queue in self.queues if queue.jobs]
                if waiting:
                    oldest = min(waiting, key=lambda queue: queue.jobs[0].number)
                    return oldest, oldest.take()
                _changed.wait()


# A condition's own lock may be taken again by the thread that has it: an object may be dropped, and its queue closed,
# at any place.
_changed = threading.Condition()
_threads: dict[str, _DeviceThread] = {}
_numbers = itertools.count()

_making = threading.RLock()
_made: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()


def _close(queue: _Queue) -> None:
    with _changed:
        queue.closed = True
        _changed.notify_all()


@atexit.register
def _wait() -> None:
    """Let each device end its batch: what is torn down under a running network would take the process with it.

    All queues are closed by then: `weakref.finalize` sees to it before.
    """
    for thread in list(_threads.values()):
        thread.join()
