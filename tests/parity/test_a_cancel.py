"""Navidrome's plugin TaskQueue: cancelling one task, and all that wait."""

from __future__ import annotations

import uuid

import pytest
import trio

from journeyman import Constant, Engine, NotCancellable, Queue, QueueNotFound, Rate, Retry, TaskNotFound
from journeyman.sim import World
from tests.parity.virtual import is_gone, simulated


@simulated
async def test_a_cancelling_what_waits(world: World) -> None:
    """A, Cancel: a task that waits is cancelled, also one that waits for a retry; an unknown one is not found.

    Better: the same, with a reason that is kept.
    """
    queue, runs = Queue("q", retry=Retry(attempts=5, backoff=Constant(100))), []

    @queue.handler
    async def fail(n: int) -> None:
        runs.append(n)
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        retrying = await engine.submit(fail, 1)
        await world.advance(seconds=1)
        await engine.pause("q")
        pending, scheduled = await engine.submit_many([fail.bind(2), fail.using(delay=50).bind(3)])
        for handle in (retrying, pending, scheduled):
            await engine.cancel(handle.id, "not wanted")
            task = await engine.get(handle.id)
            assert (task.state, task.reason) == ("cancelled", "not wanted")
        await engine.resume("q")
        await world.advance(hours=0.5)
        with pytest.raises(TaskNotFound):
            await engine.cancel(str(uuid.uuid4()))
    assert runs == [1]


@simulated
async def test_a_cancelling_what_runs(world: World) -> None:
    """A, Cancel: a running task cannot be cancelled: an error that names its state.

    Better: it is told to end and its handler cleans up; cancel(running=False) refuses it as A does.
    """
    queue, cleaned = Queue("q"), []

    @queue.handler
    async def work() -> None:
        try:
            await trio.sleep(1000)
        finally:
            cleaned.append(world.time())

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=10)
        with pytest.raises(NotCancellable, match="running"):
            await engine.cancel(handle.id, running=False)
        assert (await engine.get(handle.id)).state == "running"
        await engine.cancel(handle.id, "enough")
        task = await handle.wait()
        assert (task.state, task.reason, cleaned) == ("cancelled", "enough", [10])


@simulated
async def test_a_cancelling_what_has_ended(world: World) -> None:
    """A, Cancel: a task that has completed, failed or been cancelled cannot be cancelled: an error that names its state.

    Same.
    """
    queue = Queue("q")

    @queue.handler
    async def work(ends: str) -> None:
        if ends == "failed":
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        for ends in ("succeeded", "failed", "cancelled"):
            handle = await engine.submit(work.using(delay=5 if ends == "cancelled" else 0), ends)
            if ends == "cancelled":
                await handle.cancel("first")
            assert (await handle.wait()).state == ends
            with pytest.raises(NotCancellable, match=ends):
                await engine.cancel(handle.id, "second")
            assert (await engine.get(handle.id)).reason != "second"


@simulated
async def test_a_cancelling_what_waits_for_the_rate(world: World) -> None:
    """A, rate limiter: a task that waits for the limiter counts as running already, and cannot be cancelled.

    Mended: it is pending, holds no slot, says why it waits, and can be cancelled.
    """
    queue, ran = Queue("q", concurrency=3, rate=Rate(1, per=100)), []

    @queue.handler
    async def work(n: int) -> None:
        ran.append(n)

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([work.bind(n) for n in range(3)])
        await world.advance(seconds=10)
        assert [(await engine.get(handle.id)).state for handle in handles] == ["succeeded", "pending", "pending"]
        assert [reason.kind for reason in (await engine.explain(handles[1].id)).reasons] == ["rate limited until"]
        await engine.cancel(handles[1].id, running=False)
        await engine.drain()
        assert ran == [0, 2]
        assert 100 <= world.time() < 101, "and the token that it waited for is the next one's"


@simulated
async def test_a_clearing_a_queue(world: World) -> None:
    """A, ClearQueue: all that wait are cancelled, those for a retry too; it says how many; what runs goes on; none is 0.

    Same.
    """
    queue, other = Queue("q", concurrency=2, retry=Retry(attempts=9, backoff=Constant(1000))), Queue("other")

    @queue.handler
    async def work(how: str) -> str:
        if how == "fail":
            raise ValueError
        await trio.sleep(60)
        return how

    @other.handler
    async def elsewhere() -> None: ...

    async with world.engine(queues=[queue, other]) as engine:
        running = [await engine.submit(work, "a"), await engine.submit(work.using(delay=1), "b")]
        await engine.submit(work, "fail")
        await world.advance(seconds=2)
        await engine.submit_many([work.bind("c"), work.bind("d"), work.using(delay=600).bind("e")])
        await engine.submit(elsewhere.using(delay=600))
        assert await engine.clear("q") == 4
        assert await engine.clear("q") == 0
        assert [await handle.result() for handle in running] == ["a", "b"]
        assert await engine.count("other", "scheduled") == 1


@simulated
async def test_a_what_was_cleared_is_kept_for_a_while(world: World) -> None:
    """A, ClearQueue: its documentation says that tasks are removed; they stay, as cancelled, for the retention.

    Same: and documented so; prune removes them at once.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([work.using(delay=100).bind() for _ in range(3)])
        assert await engine.clear("q", reason="spring cleaning") == 3
        assert {task.reason for task in await engine.list("q", "cancelled")} == {"spring cleaning"}
        await world.advance(minutes=59)
        assert await engine.count("q", "cancelled") == 3
        await world.advance(minutes=2)
        assert [await is_gone(engine, handle.id) for handle in handles] == [True] * 3
        again = await engine.submit(work.using(delay=100))
        await engine.clear("q")
        assert await engine.prune(0, "q") == 1
        assert await is_gone(engine, again.id)


async def test_a_clearing_an_unknown_queue() -> None:
    """A, ClearQueue: a queue that does not exist is an error.

    Same.
    """
    async with Engine(None, [Queue("q")]) as engine:
        assert await engine.clear("q") == 0
        with pytest.raises(QueueNotFound):
            await engine.clear("nowhere")
