"""Time that tests can move: clocks for `Engine(clock=...)`, and waiting for what threads do."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import trio

from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done

EPOCH_US = 1_700_000_000_000_000


class TrioClock:
    """Kernel time that follows trio's clock; with a MockClock, hours pass at once and for everybody."""

    def wall(self) -> int:
        return EPOCH_US + round(trio.current_time() * 1_000_000)

    def monotonic(self) -> int:
        return round(trio.current_time() * 1_000_000)


class HandClock:
    """Kernel time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.us = EPOCH_US

    def wall(self) -> int:
        return self.us

    def monotonic(self) -> int:
        return self.us

    def forward(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)


class SlowStore(MemoryStore):
    """A disk whose next commits take `seconds` of trio's time each."""

    seconds = 0.0

    def begin_append(self, batch: Batch, done: Done) -> None:
        if self.seconds:
            trio.lowlevel.spawn_system_task(self._later, self.seconds, batch, done)
        else:
            super().begin_append(batch, done)

    async def _later(self, seconds: float, batch: Batch, done: Done) -> None:
        await trio.sleep(seconds)
        super().begin_append(batch, done)


async def told(event: threading.Event, seconds: float = 10.0) -> None:
    """Wait for a thread's sign without stopping the loop."""
    assert await trio.to_thread.run_sync(event.wait, seconds), "the thread gave no sign"


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Ask again and again, at each turn of the loop, until the answer is yes."""
    with trio.fail_after(seconds):
        while not await true():
            await trio.lowlevel.checkpoint()
