"""Baseline: huey with its SQLite storage and fsync, drained by its real consumer.

`SqliteHuey(fsync=True)` sets synchronous=FULL (2) with WAL. huey takes a task from the table in one durable commit and then runs
it: a task whose process dies is gone, and a result of None is not stored, so it makes one commit a task where we make a start and
an end durable. That is in its favour. Its workers contend for one exclusive lock; the number of threads that drains fastest here
is found by a short trial and used for every round. Worker processes were tried (1, 2 and 4): within a few percent of the threads,
the lock being the same.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huey import SqliteHuey

TRIAL_TASKS = 300
WORKERS = (1, 2, 4, 16)


@dataclass(frozen=True, slots=True)
class Configuration:
    workers: int

    def __str__(self) -> str:
        return f"{self.workers} thread{'s' if self.workers > 1 else ''}"


def drained_per_second(directory: Path, tasks: int, configuration: Configuration) -> float:
    """Tasks a second from the consumer's start until the last has run; filling the queue is not timed."""
    filename = str(directory / "huey.db")
    done = threading.Event()
    ran: list[None] = []  # list.append is atomic: a counter the worker threads can share

    def declare(huey: SqliteHuey) -> Callable[[int], object]:
        @huey.task(name="noop")
        def noop(number: int) -> None:
            ran.append(None)
            if len(ran) == tasks:
                done.set()

        return noop  # type: ignore[no-any-return]

    filler = SqliteHuey("bench", filename=filename, fsync=False)
    noop = declare(filler)
    for number in range(tasks):
        noop(number)
    filler.storage.close()

    huey = SqliteHuey("bench", filename=filename, fsync=True)
    declare(huey)
    if huey.storage.sql("pragma synchronous", results=True)[0][0] != 2:
        raise AssertionError("huey's connection is not synchronous=FULL")
    return _consume(huey, tasks, configuration, done)


def _consume(huey: SqliteHuey, tasks: int, configuration: Configuration, done: threading.Event) -> float:
    logging.getLogger("huey").setLevel(logging.ERROR)
    consumer = huey.create_consumer(workers=configuration.workers, periodic=False, initial_delay=0.001, max_delay=0.01)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    begun = time.perf_counter()
    consumer.start()
    finished = done.wait(timeout=120)
    spent = time.perf_counter() - begun
    consumer.stop(graceful=True)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    huey.storage.close()
    if not finished:
        raise AssertionError("huey did not drain its queue in two minutes")
    return tasks / spent


def fastest(fresh: list[Path]) -> Configuration:
    """The number of worker threads that drains fastest here; `fresh` holds one empty directory for each of WORKERS."""
    trials = {
        drained_per_second(directory, TRIAL_TASKS, Configuration(workers)): workers
        for directory, workers in zip(fresh, WORKERS, strict=True)
    }
    return Configuration(trials[max(trials)])
