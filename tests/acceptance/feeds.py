"""What tests of the feed share: a queue, work for it, and so many events or until one comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import trio

from journeyman import Engine, FeedEvent, Queue


def lane(name: str = "mail", **policy: Any) -> Queue:
    """A queue with one handler, which is called as it is and returns its argument."""
    queue = Queue(name, **policy)

    @queue.handler(name=name)
    async def echo(n: int) -> int:
        return n

    return queue


async def some(feed: AsyncIterator[FeedEvent], n: int) -> list[FeedEvent]:
    """The next `n` events; an error if they do not come."""
    found: list[FeedEvent] = []
    with trio.fail_after(20):
        while len(found) < n:
            found.append(await anext(feed))
    return found


async def until(feed: AsyncIterator[FeedEvent], kind: str) -> list[FeedEvent]:
    found: list[FeedEvent] = []
    with trio.fail_after(20):
        while not found or found[-1].kind != kind:
            found.append(await anext(feed))
    return found


def seqs(events: Iterable[FeedEvent]) -> list[int]:
    return [event.seq for event in events]


async def drained(engine: Engine, handler: str, n: int) -> None:
    await engine.submit_many([(handler, (i,), {}) for i in range(n)])
    await engine.drain()
