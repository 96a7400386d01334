"""Navidrome's plugin TaskQueue: one limiter for each queue, and what several queues together may ask of one server."""

from __future__ import annotations

from itertools import pairwise

import pytest

from journeyman import Queue, Rate
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_a_queues_that_ask_the_same_server(world: World) -> None:
    """A, rate limiter: one for each queue, so that two queues that ask one server ask it twice as often.

    Better: a Rate with a name is shared by the queues that name it, also across restarts.
    """
    api = Rate(1, per=10, name="api")
    one, other, starts = Queue("one", concurrency=3, rate=api), Queue("other", concurrency=3, rate=api), []

    async def ask() -> None:
        starts.append(world.time())

    one.handler(name="one")(ask)
    other.handler(name="other")(ask)
    async with world.engine(queues=[one, other]) as engine:
        await engine.submit_many([(name, (), {}) for _ in range(3) for name in ("one", "other")])
        await world.advance(seconds=25)
    async with world.engine(queues=[one, other]) as engine:
        await engine.drain()
    assert len(starts) == 6
    assert all(later - earlier >= 10 for earlier, later in pairwise(starts))
    assert starts[-1] < 51


@simulated
async def test_a_tasks_that_cost_more(world: World) -> None:
    """A, rate limiter: every task costs one token.

    Better: using(cost=n), for one that asks n times.
    """
    queue, starts = Queue("q", rate=Rate(10, per=10, burst=10)), []

    @queue.handler
    async def ask(n: int) -> None:
        starts.append((n, world.time()))

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([ask.using(cost=10).bind(0), ask.bind(1), ask.using(cost=5).bind(2), ask.bind(3)])
        await engine.drain()
    assert [n for n, _ in starts] == [0, 1, 2, 3]
    assert [at for _, at in starts] == pytest.approx([0, 1, 6, 7], abs=0.01)


@simulated
async def test_a_a_rate_for_each_user(world: World) -> None:
    """A, rate limiter: of the whole queue, so that one user's burst takes every other user's turns.

    Better: rate_per_key gives each serialization key a limiter of its own; what one user sends holds up nobody else.
    """
    queue = Queue("q", concurrency=9, per_key=9, rate_per_key=Rate(1, per=10))
    starts: dict[str, list[float]] = {"anna": [], "ben": []}

    @queue.handler
    async def ask(user: str) -> None:
        starts[user].append(world.time())

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([ask.using(key=user).bind(user) for user in ("anna", "anna", "anna", "anna", "ben", "ben")])
        await engine.drain()
    assert starts["anna"] == pytest.approx([0, 10, 20, 30], abs=0.01)
    assert starts["ben"] == pytest.approx([0, 10], abs=0.01)
