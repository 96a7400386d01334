"""Navidrome's plugin TaskQueue: stopping, crashing, starting again, and cleaning up."""

from __future__ import annotations

import contextlib

import pytest
import trio

from journeyman import Constant, Context, Engine, EngineStopped, Exponential, Queue, Retention, Retry
from journeyman.sim import EngineCrashed, World
from tests.parity.virtual import is_gone, simulated


@simulated
async def test_a_what_ran_when_the_process_died(world: World) -> None:
    """A, restart recovery: what was running is pending again and due at once; the crash costs one of its attempts.

    Better: it runs again at once, and a crash is charged to a budget of its own, so that one that was innocent keeps its attempts.
    """
    queue, starts = Queue("q", retry=Retry(attempts=1, backoff=Exponential(1000.0))), []

    @queue.handler
    async def work(ctx: Context) -> str:
        starts.append((ctx.attempt, world.time()))
        await trio.sleep(100)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        for _ in range(2):
            await world.advance(seconds=10)
            await world.crash()
            await engine.ready()
        task = await handle.wait()
        assert (task.result, task.attempt, task.failures, task.crashes) == ("done", 3, 0, 2)
        assert starts == [(1, 0), (2, 11), (3, 22)]


@simulated
async def test_a_a_poison_task(world: World) -> None:
    """A, poison task: attempts are looked at only after a failure that was returned, so a task that kills its process runs for ever.

    Mended: its crash budget is spent, and it fails with the evidence; its neighbours do not.
    """
    queue, runs = Queue("q", concurrency=3, retry=Retry(attempts=1, crashes=3)), []

    @queue.handler
    async def work(kind: str) -> str:
        if kind == "poison":
            runs.append(world.time())
            await trio.sleep(1)
            await world.crash()
        await trio.sleep(30)
        return kind

    async with world.engine(queues=[queue]) as engine:
        poison, good, better = await engine.submit_many([work.bind("poison"), work.bind("good"), work.bind("better")])
        task = await poison.wait()
        assert (task.state, task.crashes, task.failures, len(runs)) == ("failed", 4, 0, 4)
        assert "crash" in str(task.reason)
        assert [await good.result(), await better.result()] == ["good", "better"]
        await world.advance(days=1)
        assert len(runs) == 4


@simulated
async def test_a_who_was_it(world: World) -> None:
    """A, poison task: which of the tasks that ran together it was that killed the process, nobody knows.

    Mended: those that one more crash would end run one at a time, whatever comes meanwhile, so that only the poisonous one fails.
    """
    queue = Queue("q", concurrency=10, retry=Retry(attempts=1, crashes=1))

    @queue.handler
    async def work(kind: str) -> str:
        await trio.sleep(1)
        if kind == "poison":
            await world.crash()
        await trio.sleep(1)
        return kind

    async with world.engine(queues=[queue]) as engine:
        kinds = ["good", "poison", "good", "good", "poison"]
        handles = await engine.submit_many([work.bind(kind) for kind in kinds])
        later = []
        for _ in range(40):
            with contextlib.suppress(EngineCrashed):
                later.append(await engine.submit(work, "good"))
            await world.advance(seconds=0.5)
        states = [(await handle.wait()).state for handle in handles]
        assert states == ["failed" if kind == "poison" else "succeeded" for kind in kinds]
        assert {(await handle.wait()).state for handle in later} == {"succeeded"}


@simulated
async def test_a_a_graceful_stop_costs_nothing(world: World) -> None:
    """A, shutdown: it waits for ten seconds; a task that is cut off then is pending again, and its attempt is given back.

    Same: `grace`, of ten seconds unless told otherwise; no budget is touched. The number of the run counts on, for it is never used twice.
    """
    queue, seen = Queue("q", concurrency=2, retry=Retry(attempts=1, crashes=0)), []

    @queue.handler
    async def work(ctx: Context, seconds: float) -> str:
        seen.append((seconds, ctx.attempt))
        await trio.sleep(seconds)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        short, long = await engine.submit_many([work.bind(8), work.bind(60)])
        await world.advance(seconds=1)
    assert 11 <= world.time() < 11.1
    async with world.engine(queues=[queue]) as engine:
        task = await engine.get(short.id)
        assert (task.state, task.attempt) == ("succeeded", 1)
        await engine.drain()
        task = await engine.get(long.id)
        assert (task.result, task.attempt, task.failures, task.crashes) == ("done", 2, 0, 0)
    assert sorted(seen) == [(8, 1), (60, 1), (60, 2)]


@simulated
async def test_a_success_during_the_shutdown(world: World) -> None:
    """A, shutdown: a task that succeeds after the shutdown has begun is pending again all the same, and does its work twice.

    Mended: a success that is reported during the shutdown is a success.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        world.effects.append("work")
        await trio.sleep(5)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=1)
        assert await engine.stop(grace=30) is True
    async with world.engine(queues=[queue]) as engine:
        await engine.drain()
        assert (await engine.get(handle.id)).result == "done"
    world.effects.assert_at_most_once()


async def test_a_calls_after_the_end() -> None:
    """A, shutdown: later calls fail, for the database is closed.

    Same: EngineStopped.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
    with pytest.raises(EngineStopped):
        await engine.submit(work)
    with pytest.raises(EngineStopped):
        await engine.get(handle.id)
    with pytest.raises(EngineStopped):
        await engine.clear("q")


@simulated
async def test_a_cleaning_up(world: World) -> None:
    """A, cleanup: every five minutes, what has ended longer than the retention ago is deleted, in the queues that live.

    Better: what has expired is gone from sight at its instant and from the disk within minutes, in every queue; each ending has its own
    retention.
    """
    keep = Retention(succeeded=600, failed=1200, cancelled=300)
    queue = Queue("q", retention=keep, retry=Retry(attempts=2, backoff=Constant(60), jitter=0))

    @queue.handler
    async def work(ends: str) -> None:
        if ends == "failed":
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        calls = {"succeeded": work, "cancelled": work.using(delay=9), "failed": work}
        ids = {ends: (await engine.submit(call, ends)).id for ends, call in calls.items()}
        await engine.cancel(ids["cancelled"])
        await engine.drain()  # the failed one ends after a minute
        gone: dict[str, float] = {}
        while len(gone) < 3:
            gone |= {ends: world.time() for ends, id in ids.items() if ends not in gone and await is_gone(engine, id)}
            await world.advance(seconds=1)
    assert gone == {"succeeded": pytest.approx(600, abs=1), "cancelled": pytest.approx(300, abs=1), "failed": pytest.approx(1260, abs=1)}


@simulated
async def test_a_two_journals_know_nothing_of_each_other(world: World) -> None:
    """A, isolation: each plugin has a database of its own; the same queue name in two of them means two queues.

    Same: a path is a journal.
    """
    ran = []

    def mail(who: str) -> Queue:
        queue = Queue("mail")

        @queue.handler
        async def send() -> None:
            ran.append(who)

        return queue

    async with (
        world.engine(queues=[mail("a")], path="plugin-a") as one,
        world.engine(queues=[mail("b")], path="plugin-b") as other,
    ):
        handle = await one.submit("send")
        await handle.wait()
        assert await other.count() == 0
        assert await is_gone(other, handle.id)
    assert ran == ["a"]
