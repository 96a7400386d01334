"""Navidrome's plugin TaskQueue: in which order tasks start, how many at once, how fast one after the other."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from journeyman import Constant, Context, Queue, Rate, Retention, Retry
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_a_the_order(world: World) -> None:
    """A, dispatch: by due instant, then by creation, in milliseconds; among equals any order.

    Better: by due instant, then by submission, so that there is never a tie.
    """
    queue, order = Queue("q"), []

    @queue.handler
    async def work(n: int) -> None:
        order.append(n)

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")
        await engine.submit_many([work.using(delay=5).bind(3), work.using(delay=1).bind(0)])
        await engine.submit_many([work.using(delay=5 - world.time()).bind(n) for n in (4, 5, 6)])
        await engine.submit(work.using(delay=1), 1)
        await world.advance(seconds=2)
        await engine.submit(work, 2)
        await world.advance(seconds=10)
        await engine.resume("q")
        await engine.drain()
    assert order == [0, 1, 2, 3, 4, 5, 6]


@simulated
async def test_a_a_retried_task_keeps_its_place(world: World) -> None:
    """A, dispatch: a retried task is ordered by its new due instant, behind what was put in meanwhile.

    Different: it keeps the place of its first due instant, so that a full queue does not starve what has failed once.
    """
    queue, order = Queue("q", retry=Retry(attempts=3, backoff=Constant(5), jitter=0)), []

    @queue.handler
    async def work(ctx: Context, n: int) -> None:
        order.append(n)
        await trio.sleep(1)
        if n == 0 and ctx.attempt < 3:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.bind(n) for n in range(20)])
        await engine.drain()
    assert order[:14] == [0, 1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 10, 0, 11]


@simulated
async def test_a_the_attempt_number(world: World) -> None:
    """A, dispatch: the handler is told its attempt, from 1.

    Same.
    """
    queue, told = Queue("q", retry=Retry(attempts=3, backoff=Constant(1))), []

    @queue.handler
    async def work(ctx: Context) -> None:
        told.append((ctx.attempt, ctx.max_attempts))
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await engine.submit(work)
        await engine.drain()
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("concurrency", [1, 4])
@simulated
async def test_a_workers(world: World, concurrency: int) -> None:
    """A, dispatch: so many workers for each queue; never more tasks of it run at once.

    Same.
    """
    queue, most, inside = Queue("q", concurrency=concurrency), 0, 0

    @queue.handler
    async def work() -> None:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        await trio.sleep(10)
        inside -= 1

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.bind() for _ in range(12)])
        await engine.drain()
        assert (most, world.time()) == (concurrency, 120 / concurrency)


@simulated
async def test_a_nothing_waits_for_a_poll(world: World) -> None:
    """A, dispatch: a put wakes one worker; other workers, and tasks whose instant has come, wait for a poll every five seconds.

    Mended: every free slot is filled at once, and each due instant, also after a restart, is met by a timer of its own.
    """
    queue, late = Queue("q", concurrency=4), []

    @queue.handler
    async def work(due: float) -> None:
        late.append(world.time() - due)
        await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine:
        for n in range(4):
            await engine.submit(work, world.time())
            await world.advance(seconds=0.01 * n)
        await world.advance(seconds=10)
        await engine.submit_many([work.using(delay=n * 1.7).bind(world.time() + n * 1.7) for n in range(10)])
        await world.advance(seconds=4)
    async with world.engine(queues=[queue]) as engine:
        await world.advance(seconds=20)
    assert len(late) == 14
    assert all(0 <= one < 0.001 for one in late)


@simulated
async def test_a_the_first_at_once_then_spaced_over_all_workers(world: World) -> None:
    """A, rate limiter: with a delay of d the first task starts at once, and later ones d apart, over all workers of the queue.

    Same: Rate(1, per=d).
    """
    queue, starts = Queue("q", concurrency=5, rate=Rate(1, per=3)), []

    @queue.handler
    async def work() -> None:
        starts.append(world.time())
        await trio.sleep(7)

    async with world.engine(queues=[queue]) as engine:
        await world.advance(minutes=1)  # looking into an empty queue costs no token
        await engine.submit_many([work.bind() for _ in range(6)])
        await engine.drain()
    assert starts[0] == 60
    assert [later - earlier for earlier, later in pairwise(starts)] == pytest.approx([3] * 5, abs=0.001)


@simulated
async def test_a_retries_are_limited_too(world: World) -> None:
    """A, rate limiter: a retry takes a token like a first run.

    Same.
    """
    queue, starts = Queue("q", concurrency=5, rate=Rate(1, per=3), retry=Retry(attempts=3, backoff=Constant(0))), []

    @queue.handler
    async def fail() -> None:
        starts.append(world.time())
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([fail.bind() for _ in range(3)])
        await engine.drain()
    assert starts == pytest.approx([3 * n for n in range(9)], abs=0.001)


@simulated
async def test_a_those_that_wait_for_a_token_do_not_run(world: World) -> None:
    """A, rate limiter: up to as many tasks as there are workers stand as running while they wait for the limiter.

    Mended: they are pending, and hold no slot, no attempt and no time-out.
    """
    queue = Queue("q", concurrency=5, rate=Rate(1, per=3), timeout=1)

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([work.bind() for _ in range(5)])
        await world.advance(seconds=1)
        counts = (await engine.stats())["q"].counts
        assert (counts["running"], counts["pending"]) == (0, 4)
        assert [(await engine.get(handle.id)).attempt for handle in handles] == [1, 0, 0, 0, 0]
        await engine.drain()
        assert await engine.count(state="succeeded") == 5


@pytest.mark.parametrize("how", ["restart", "crash"])
@simulated
async def test_a_a_restart_gives_no_free_start(world: World, how: str) -> None:
    """A, rate limiter: it is in memory only, so that every restart gives one start for free.

    Mended: it is derived from the journalled starts, and holds across restarts and crashes.
    """
    queue, starts = Queue("q", concurrency=5, rate=Rate(1, per=100), retry=Retry(crashes=100)), []

    @queue.handler
    async def work() -> None:
        starts.append(world.time())

    engine = world.engine(queues=[queue])
    async with engine:
        await engine.submit_many([work.bind() for _ in range(4)])
        for _ in range(3 if how == "crash" else 0):
            await world.advance(seconds=20)
            await world.crash()
            await engine.ready()
        await world.advance(seconds=20)
    for _ in range(3 if how == "restart" else 0):
        async with world.engine(queues=[queue]):
            await world.advance(seconds=20)
    async with world.engine(queues=[queue]) as engine:
        await engine.drain()
    # After a restart a start may come 50 ms later than it must: nobody knows how long the last one took to be entered.
    assert all(100 <= later - earlier < 100.06 for earlier, later in pairwise(starts))
    assert len(starts) == 4


@simulated
async def test_a_the_limiter_outlives_what_it_limited(world: World) -> None:
    """A, rate limiter: with its memory, it forgets; its database keeps no starts either.

    Mended: the instant of the next start is kept when the tasks that took the tokens have long been pruned, and the journal compacted.
    """
    queue, starts = Queue("q", rate=Rate(1, per=100_000), retention=Retention(succeeded=0)), []

    @queue.handler
    async def work() -> None:
        starts.append(world.time())

    async with world.engine(queues=[queue]) as engine:
        await (await engine.submit(work)).wait()
    for _ in range(4):
        async with world.engine(queues=[queue]) as engine:
            await world.advance(hours=5)
            assert await engine.count() == 0
    async with world.engine(queues=[queue]) as engine:
        await engine.submit(work)
        await engine.drain()
    assert starts == [0, pytest.approx(100_000, abs=0.1)]
