"""zapfs's taskqueue: whoever comes first with ten thousand tasks, and the others."""

from __future__ import annotations

import trio

from journeyman import Queue
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_c_one_who_puts_in_ten_thousand(world: World) -> None:
    """C, Worker: whoever puts in a great many tasks first is served first, and everybody else waits until they are done.

    Better: fair_by="owner" (or "key") shares the slots of a queue over those who wait.
    """
    queue, order = Queue("q", concurrency=2, fair_by="owner"), []

    @queue.handler
    async def work(who: str) -> None:
        order.append(who)
        await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.using(owner=("tenant", "large")).bind("large") for _ in range(200)])
        await world.advance(seconds=0.5)
        await engine.submit_many([work.using(owner=("tenant", "small")).bind("small") for _ in range(5)])
        await engine.submit_many([work.using(owner=("tenant", "other")).bind("other") for _ in range(5)])
        await engine.drain()
    assert order.count("small") == order.count("other") == 5
    assert max(n for n, who in enumerate(order) if who != "large") < 2 + 3 * 5 + 3
    assert order.count("large") == 200


@simulated
async def test_c_queues_share_the_engine(world: World) -> None:
    """C, Worker: one pool of goroutines for all types of task, so that one type can take them all.

    Better: under max_concurrency the queues take turns, by their weight.
    """
    heavy, light, order = Queue("heavy", concurrency=10, weight=3), Queue("light", concurrency=10), []

    async def work(who: str) -> None:
        order.append(who)
        await trio.sleep(1)

    heavy.handler(name="heavy")(work)
    light.handler(name="light")(work)
    async with world.engine(queues=[heavy, light], max_concurrency=1) as engine:
        await engine.submit_many([("heavy", ("heavy",), {}) for _ in range(60)])
        await engine.submit_many([("light", ("light",), {}) for _ in range(60)])
        await world.advance(seconds=40)
        first = order[:40]
        assert 28 <= first.count("heavy") <= 32
        assert 8 <= first.count("light") <= 12
        await engine.drain()
