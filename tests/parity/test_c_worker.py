"""zapfs's taskqueue: the worker, listing, figures and cleaning up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from journeyman import Context, Engine, HandlerExists, Queue, Retention, State
from journeyman.sim import World
from tests.parity.virtual import is_gone, simulated


@simulated
async def test_c_a_backlog(world: World) -> None:
    """C, Worker: each of its goroutines does one task a poll, so that a backlog goes at concurrency / poll, however short the tasks.

    Mended: a slot that becomes free is filled at once.
    """
    queue = Queue("q", concurrency=5)

    @queue.handler
    async def work() -> None:
        await trio.sleep(0.01)

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.bind() for _ in range(1000)])
        await engine.drain()
        assert world.time() == pytest.approx(1000 * 0.01 / 5, abs=0.01)


def test_c_registering() -> None:
    """C, Worker: a nil handler is ignored; a second one of the same type takes the place of the first.

    Mended: TypeError and HandlerExists, where it is written.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    with pytest.raises(HandlerExists, match="'work'"):
        queue.handler(name="work")(lambda: None)
    with pytest.raises(TypeError):
        queue.handler(name="nothing")("not a function")


@simulated
async def test_c_no_handlers(world: World) -> None:
    """C, Worker: without any handler it warns and runs nothing; tasks of a type without a handler stay pending.

    Same: parked and explained; stats counts them.
    """
    async with world.engine(queues=[Queue("q")]) as engine:
        handle = await engine.submit(engine.handler("work", "q"))
        await world.advance(hours=1)
        assert (await engine.get(handle.id)).state == "pending"
        assert (await engine.stats())["q"].parked == 1
        assert "work" in str(await engine.explain(handle.id))


@simulated
async def test_c_an_error_nobody_expected(world: World) -> None:
    """C, Worker: a panic in a handler ends the process; there is no time limit.

    Mended: it ends the run; timeout= is there for those who want it.
    """
    queue = Queue("q", concurrency=2, timeout=50)

    @queue.handler
    async def work(n: int) -> int:
        if n == 0:
            raise MemoryError
        if n == 1:
            await trio.sleep_forever()
        return n

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([work.bind(n) for n in range(4)])
        assert [(await handle.wait()).state for handle in handles] == ["failed", "failed", "succeeded", "succeeded"]
        assert world.time() == 50


@simulated
async def test_c_stopping(world: World) -> None:
    """C, Stop: it waits for the handlers, for as long as they take; a second Stop panics.

    Mended: it waits for `grace` seconds, says whether all could finish, and may be asked again.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        await trio.sleep(30)

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=1)
        assert await engine.stop(grace=60) is True
        assert world.time() == 30
        await engine.stop(grace=60)
    async with world.engine(queues=[queue]) as engine:
        assert (await engine.get(handle.id)).state == "succeeded"


async def test_c_a_stop_by_cancellation(tmp_path: Path) -> None:
    """C, Stop: if the context given to Start is cancelled first, a task that has just been done cannot be recorded, and runs again later.

    Mended: whoever is cancelled, the engine ends in good order: what a handler has returned is recorded.
    """
    queue, runs, entered = Queue("q"), [], trio.Event()

    @queue.handler
    async def work() -> str:
        entered.set()
        with trio.CancelScope(shield=True):
            await trio.sleep(0.02)
        runs.append(1)
        return "done"

    with trio.CancelScope() as scope:
        async with Engine(tmp_path / "jobs", [queue]) as engine:
            handle = await engine.submit(work)
            await entered.wait()
            scope.cancel()
            await trio.sleep_forever()
    async with Engine(tmp_path / "jobs", [queue]) as engine:
        await engine.drain(timeout=10)
        assert (await engine.get(handle.id)).result == "done"
    assert runs == [1]


@simulated
async def test_c_list(world: World) -> None:
    """C, List: newest first, by type and status, with limit and offset; an offset without a limit is bad SQL, the memory queue's list has
    no order.

    Mended: one order and one paging, the same on every store.
    """
    queue = Queue("q")

    @queue.handler
    async def odd(n: int) -> None: ...

    @queue.handler
    async def even(n: int) -> None: ...

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")
        ids = [(await engine.submit(odd if n % 2 else even, n)).id for n in range(10)]
        assert [task.id for task in await engine.list()] == ids[::-1]
        assert [task.id for task in await engine.list(handler="odd", state="pending", limit=2)] == [ids[9], ids[7]]
        assert [task.id for task in await engine.list(before=ids[3])] == [ids[2], ids[1], ids[0]]
        assert await engine.list(before=ids[0]) == []


@simulated
async def test_c_figures(world: World) -> None:
    """C, Stats: counts by status without the cancelled ones, by type (pending only in the database), the oldest pending; the mean
    duration is never filled in.

    Mended: every state is counted, handlers by their unfinished tasks, the oldest by its age; mean, median and p99 are filled in.
    """
    queue = Queue("q")

    @queue.handler
    async def work(seconds: float) -> None:
        await trio.sleep(seconds)
        if seconds == 2:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        for seconds in (1, 2, 3):
            await (await engine.submit(work, seconds)).wait()
        await engine.submit(work, 1000)
        waiting, _ = await engine.submit_many([work.bind(1), work.bind(1)])
        await engine.submit(work.using(delay=500), 1)
        await world.advance(seconds=100)
        await engine.cancel(waiting.id)
        stats = (await engine.stats())["q"]
        assert {str(state): n for state, n in stats.counts.items() if n} == {
            "running": 1, "pending": 1, "scheduled": 1, "succeeded": 2, "failed": 1, "cancelled": 1,
        }  # fmt: skip
        assert set(stats.counts) == set(State)
        assert (dict(stats.handlers), stats.oldest_pending) == ({"work": 3}, 100)
        assert stats.mean == pytest.approx(2, rel=0.01)
        assert stats.p50 == pytest.approx(2, rel=0.05)
        assert stats.p99 == pytest.approx(3, rel=0.05)


@simulated
async def test_c_cleaning_up(world: World) -> None:
    """C, Cleanup: by hand only; it deletes completed tasks; cancelled ones are never deleted, for nobody sets their completed_at; dead
    letters neither; it says how many.

    Mended: every ending has its retention and goes by itself; prune does it by hand, for the states it is given, and says how many.
    """
    queue = Queue("q", retention=Retention(succeeded=None, failed=None, cancelled=None))

    @queue.handler
    async def work(n: int) -> None:
        if n == 0:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        failed, done, cancelled = [await engine.submit(work.using(delay=10), n) for n in range(3)]
        await cancelled.cancel()
        await world.advance(days=1)
        young = await engine.submit(work, 9)
        await young.wait()
        assert await engine.prune(older_than=3600) == 2
        assert [await is_gone(engine, handle.id) for handle in (failed, done, cancelled, young)] == [False, True, True, False]
        assert await engine.prune(older_than=3600, states=["failed"]) == 1
        assert await engine.prune(older_than=3600) == 0
        assert await engine.count() == 1


@simulated
async def test_c_cancelled_tasks_go_by_themselves(world: World) -> None:
    """C, Cleanup: a cancelled row stays for ever.

    Mended: it is gone when its retention is over, an hour unless told otherwise.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work.using(delay=9999))
        await handle.cancel()
        await world.advance(minutes=61)
        assert await is_gone(engine, handle.id)
        assert await engine.count() == 0


@dataclass
class Restore:
    bucket: str
    days: int = 7


@simulated
async def test_c_payloads(world: World) -> None:
    """C, payloads: MarshalPayload and UnmarshalPayload[T] turn structs into JSON and back, in the hands of the caller.

    Better: the handler's annotations do it, and a value that does not fit is refused when it is submitted.
    """
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context, restore: Restore) -> Restore:
        assert isinstance(restore, Restore)
        return Restore(restore.bucket.upper(), restore.days + 1)

    async with world.engine(queues=[queue]) as engine:
        assert await (await engine.submit(work, Restore("b"))).result() == Restore("B", 8)
        with pytest.raises(ValueError, match="restore"):
            await engine.submit(work, {"bucket": 5})
