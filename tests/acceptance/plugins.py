"""Queues as plugins write them, and a namespace for one."""

from __future__ import annotations

import trio

from journeyman.engine import Context, Engine, Namespace, Queue


def plugin(name: str = "mail", **policy: object) -> tuple[Queue, list[tuple[str, str, str]]]:
    """A queue as a plugin would write it, and what its handler saw: text, queue, whose door."""
    queue, seen = Queue(name, **policy), list[tuple[str, str, str]]()  # type: ignore[arg-type]

    @queue.handler
    async def send(ctx: Context, text: str) -> str:
        seen.append((text, ctx.queue, repr(ctx.engine)))
        return text

    return queue, seen


def held(name: str = "mail", **policy: object) -> tuple[Queue, trio.Event]:
    """A queue whose handler stays until the event is set."""
    queue, go = Queue(name, **policy), trio.Event()  # type: ignore[arg-type]

    @queue.handler
    async def send(text: str = "") -> None:
        await go.wait()

    return queue, go


async def opened(engine: Engine, name: str, queue: Queue, **terms: object) -> Namespace:
    ns = engine.namespace(name, **terms)  # type: ignore[arg-type]
    await ns.create_queue(queue)
    return ns
