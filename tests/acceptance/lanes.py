"""Queues whose handlers only say who they are."""

from __future__ import annotations

from journeyman.engine import Queue


def with_handlers(*names: str, parameters: int = 0, concurrency: int = 4) -> Queue:
    """A queue "q" whose handlers say their own name."""
    queue = Queue("q", concurrency=concurrency)
    for name in names:
        if parameters:

            async def one(n: int, text: str = "", name: str = name) -> str:
                return f"{name} {n} {text}"

            queue.handler(name=name, ctx=False)(one)
        else:

            async def none(name: str = name) -> str:
                return name

            queue.handler(name=name, ctx=False)(none)
    return queue
