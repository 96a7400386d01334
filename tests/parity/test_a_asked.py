"""Navidrome's plugin TaskQueue: what its users asked for, or built beside it."""

from __future__ import annotations

import trio

from journeyman import Queue, Retry, RetryLater
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_a_a_provider_that_says_later(world: World) -> None:
    """A, asked for: when a server answers "retry later", everything that is meant for it should wait; users' addresses were blocked.

    Better: raise RetryLater(delay=..., scope="queue"): nothing of the queue starts before, restarts included; resume lifts it.
    """
    queue, starts = Queue("api", concurrency=3, retry=Retry(attempts=3)), []

    @queue.handler
    async def ask(n: int) -> None:
        starts.append((n, world.time()))
        if n == 0 and world.time() < 1:
            raise RetryLater("429 Too Many Requests", delay=600, scope="queue")
        await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([ask.bind(n) for n in range(6)])
        await world.advance(seconds=100)
        assert "parked until" in [reason.kind for reason in (await engine.explain(handles[5].id)).reasons]
        assert await engine.count(state="running") == 0
        await world.crash()
        await engine.ready()
        for handle in handles:
            await handle.wait()
    assert sorted(n for n, at in starts if at < 600) == [0, 1, 2], "those that had been started already"
    assert sorted(n for n, at in starts if at >= 600) == [0, 3, 4, 5]


@simulated
async def test_a_an_operator_who_knows_better(world: World) -> None:
    """A, asked for: to stop a queue for a while, and go on with it by hand.

    Better: pause and resume, on the record, across restarts; resume lifts what a provider asked for too.
    """
    queue, starts = Queue("api"), []

    @queue.handler
    async def ask() -> None:
        starts.append(world.time())
        if len(starts) == 1:
            raise RetryLater("come back tomorrow", delay=86_400, scope="queue")

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([ask.bind(), ask.bind()])
        await world.advance(seconds=10)
        await engine.pause("api", reason="asking the provider", by="ada")
    async with world.engine(queues=[queue]) as engine:
        await world.advance(hours=1)
        assert (await engine.stats())["api"].paused
        await engine.resume("api", reason="they say it was a mistake", by="ada")
        await engine.drain()
    assert starts == [0, 3610]


@simulated
async def test_a_the_library_once(world: World) -> None:
    """A, asked for: a guard against putting the whole library in twice, and a count of what is waiting; plugins keep both for themselves.

    Better: using(unique=...) and count, across restarts.
    """
    queue, scanned = Queue("q", concurrency=4), []

    @queue.handler
    async def scan(track: int) -> None:
        scanned.append(track)
        await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine:
        for _ in range(3):
            await engine.submit_many([scan.using(unique=f"track {n}").bind(n) for n in range(40)])
            await world.advance(seconds=2)
            assert await engine.count("q", ["pending", "running"]) <= 40
        await world.crash()
        await engine.ready()
        await engine.submit_many([scan.using(unique=f"track {n}").bind(n) for n in range(30, 40)])
        await engine.drain()
        assert sorted(set(scanned)) == list(range(40))
        assert len(scanned) <= 3 * 8 + 40
