"""Handlers for an engine in the background, and threads that call it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import trio

from journeyman.engine import Queue


class Work:
    """A queue with a handler of each kind, and a gate for the one that waits."""

    def __init__(self) -> None:
        self.queue = Queue("q", concurrency=8)
        self.gate = threading.Event()
        self.entered = threading.Event()

        @self.queue.handler
        async def add(a: int, b: int = 1) -> int:
            return a + b

        @self.queue.handler
        def waits() -> str:
            self.entered.set()
            self.gate.wait(60)
            return "waited"

        @self.queue.handler
        async def stays() -> None:
            self.entered.set()
            await trio.sleep_forever()

        @self.queue.handler
        async def fails() -> None:
            raise ValueError("no")

        self.add, self.waits, self.stays, self.fails = add, waits, stays, fails


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """What each returned or raised; none of them may hang."""
    said: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Any]) -> None:
        try:
            said[place] = call()
        except Exception as error:
            said[place] = error

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(calls)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
        assert not each.is_alive(), "a caller hangs"
    return said
