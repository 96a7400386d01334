"""The work that the engine is measured with: one queue, one handler that does nothing.

The handler takes one integer; each task is submitted, started and ended, an event each, all of them flushed. Retention is the
default, so ended tasks stay on disk and checkpoints, if they come, are part of the figure.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from journeyman.engine import Engine, Handler, Queue

BATCH = 1000  # tasks of one submit_many, the size the speed table names


def noop_queue(concurrency: int) -> tuple[Queue, Handler[[int], None]]:
    queue = Queue("bench", concurrency=concurrency)

    @queue.handler
    async def noop(number: int) -> None:
        pass

    return queue, noop


@dataclass(slots=True)
class Marks:
    """The clock whenever another `every` handlers have been entered, until `wanted` marks are made."""

    every: int
    wanted: int
    entered: int = 0
    at: list[float] = field(default_factory=list)
    made: trio.Event = field(default_factory=trio.Event)

    def enter(self) -> None:
        self.entered += 1
        if self.entered % self.every == 0:
            self.at.append(time.perf_counter())
            if len(self.at) == self.wanted:
                self.made.set()


def marking_queue(concurrency: int, marks: Marks) -> tuple[Queue, Handler[[int], None]]:
    queue = Queue("bench", concurrency=concurrency)

    @queue.handler
    async def noop(number: int) -> None:
        marks.enter()

    return queue, noop


async def store(engine: Engine, handler: Handler[[int], object], tasks: int) -> None:
    for first in range(0, tasks, BATCH):
        await engine.submit_many([(handler, (number,), {}) for number in range(first, min(first + BATCH, tasks))])


def in_engine(directory: Path, queue: Queue, body: Callable[[Engine], Awaitable[float]], *, paused: bool = False) -> float:
    """Run `body` with a fresh engine on `directory`, its queue paused if wanted; opening and closing are not timed."""
    directory.mkdir(exist_ok=True)

    figures: list[float] = []

    async def main() -> None:
        async with Engine(directory / "journal", queues=[queue]) as engine:
            if paused:
                await engine.pause("bench")
            figures.append(await body(engine))
            await engine.stop(grace=0)

    trio.run(main)
    return figures[0]
