"""The same work on the nodes of a Ray cluster; this process stays the only one that writes manifests.

A Ray task is a batch of clips, by bytes of their sources, so that scheduling costs little beside the work. On its node
the batch runs in a worker process of :class:`dataset_builder.runners.pool.WorkerPool`, which guards it as on one
machine: a clip that kills or hangs its process costs itself alone. Ray does a batch again whose node dies; what the
lost node had written already is written once more, with the same bytes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .pool import AtWork, WorkerDied, WorkerPool

Task = TypeVar("Task")
Result = TypeVar("Result")

BATCH_BYTES = 32_000_000
"""Source bytes of a batch: some 25 clips of NTU RGB+D, a quarter of a minute of work."""
BATCH_TASKS = 256
_BATCHES_PER_CPU = 2  # one at work, one waiting: back-pressure, and no idle time between them
_NODE_DEATHS = 5  # how many nodes may die under one batch
_POLL_S = 1.0  # how often the cluster's size is asked for


def run_on_ray(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    address: str,
    limit_s: Callable[[Task], float] | None,
    size_bytes: Callable[[Task], int],
    on_wait: Callable[[AtWork[Task]], None] | None = None,
) -> Iterator[tuple[Task, Result | WorkerDied]]:
    """Run ``function`` over tasks on a cluster; yield (task, result) as batches finish, in any order.

    Parameters
    ----------
    function, tasks, limit_s : as for :class:`WorkerPool`; everything must pickle, and this package must be installed
        on every node
    address : of the cluster, such as ``10.0.0.1:6379`` or ``ray://10.0.0.1:10001``; ``auto`` for the one that this
        machine belongs to, ``local`` to start one here
    size_bytes : task -> bytes of its source
    on_wait : called about once a second, between results; which task of a batch is at work is not known here

    Raises
    ------
    ValueError : Ray is not installed, or there is no cluster at the address

    Nodes may join and leave. A batch that outlived too many nodes is yielded with :class:`WorkerDied`.
    """
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ValueError(f"ray: no cluster at {address!r} ({' '.join(str(error).split())})") from error
    remote = ray.remote(num_cpus=1, max_retries=_NODE_DEATHS)(_run_batch)
    # Pickled here once: a worker tells by the bytes whether its pool serves this run.
    shared = ray.put(pickle.dumps((function, limit_s)))
    batches = _batches(tasks, size_bytes)
    held: dict[Any, list[Task]] = {}
    exhausted = False
    try:
        while True:
            room = int(ray.cluster_resources().get("CPU", 1)) * _BATCHES_PER_CPU
            while len(held) < room and not exhausted:
                batch = next(batches, None)
                if batch is None:
                    exhausted = True
                else:
                    held[remote.remote(shared, batch)] = batch
            if not held:
                return
            ready, _ = ray.wait(list(held), timeout=_POLL_S)
            if on_wait is not None and not ready:
                on_wait(())
            for reference in ready:
                batch = held.pop(reference)
                yield from zip(batch, _results(ray, reference, batch))
    finally:
        for reference in held:
            ray.cancel(reference, force=True)
        if started:
            ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError("ray is not installed; pip install 'lens-privacy-sealing[ray]'") from None
    return ray


def _batches(tasks: Iterable[Task], size_bytes: Callable[[Task], int]) -> Iterator[list[Task]]:
    batch: list[Task] = []
    total = 0
    for task in tasks:
        batch.append(task)
        total += size_bytes(task)
        if total >= BATCH_BYTES or len(batch) >= BATCH_TASKS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _results(ray: Any, reference: Any, batch: list[Task]) -> list[Any]:
    try:
        results: list[Any] = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = f"its batch was lost ({' '.join(str(error).split())[:200]})"
        return [WorkerDied(reason)] * len(batch)
    return results


_pool: tuple[bytes, WorkerPool[Any, Any]] | None = None


def _run_batch(shared: bytes, batch: list[Any]) -> list[Any]:
    """On a node: the results of a batch, in its order, by a worker process that stays for the next batch."""
    global _pool
    if _pool is None or _pool[0] != shared:
        if _pool is not None:
            _pool[1].close()
        function, limit_s = pickle.loads(shared)
        _pool = (shared, WorkerPool(function, 1, limit_s))
    numbered = {id(task): number for number, task in enumerate(batch)}
    results: list[Any] = [None] * len(batch)
    for task, result in _pool[1].run(batch):
        results[numbered[id(task)]] = result
    return results
