"""A small day of a simulated queue, for tests about the world around it."""

from __future__ import annotations

import trio

from journeyman import Context, Queue, Retry
from journeyman.sim import World


def errands() -> Queue:
    queue = Queue("errands", concurrency=3, retry=Retry(crashes=1000))

    @queue.handler
    async def run(ctx: Context, n: int) -> int:
        await trio.sleep(ctx.random.random())
        return n

    return queue


class Mistake(Exception):
    """Of a scenario."""


async def two_errands(world: World) -> None:
    async with world.engine(queues=lambda: [errands()]) as engine:
        for n in range(2):
            await engine.submit("run", n)
        await engine.drain()
