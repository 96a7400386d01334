"""tingly-box's task package: looking, waiting, progress, starting and stopping."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import trio

from journeyman import Constant, Context, Engine, EngineStopped, JournalCorrupt, Queue, Retention, Retry, TaskFailed, TaskNotFound
from journeyman.sim import World
from tests.parity.virtual import is_gone, simulated


@simulated
async def test_b_get(world: World) -> None:
    """B, Get: an unknown task is not found.

    Same.
    """
    async with world.engine(queues=[Queue("q")]) as engine:
        with pytest.raises(TaskNotFound):
            await engine.get(str(uuid.uuid4()))


@simulated
async def test_b_list(world: World) -> None:
    """B, List: newest first; by owner, type and a set of statuses; with limit and offset, an offset past the end gives nothing.

    Better: also by queue, source, tag, key and parent; pages go by task, so that what arrives meanwhile does not shift them.
    """
    queue, other = Queue("q"), Queue("other")

    @queue.handler
    async def work(n: int) -> None:
        if n % 2:
            raise ValueError

    @other.handler
    async def rest() -> None: ...

    async with world.engine(queues=[queue, other]) as engine:
        ids = [(await engine.submit(work.using(owner=("user", str(n % 3)), source="web"), n)).id for n in range(6)]
        await engine.submit(rest)
        await engine.drain()
        await engine.submit(work.using(delay=100), 9)
        assert [task.id for task in await engine.list("q", ["succeeded", "failed"])] == ids[::-1]
        assert [task.id for task in await engine.list(state="failed")] == [ids[5], ids[3], ids[1]]
        assert [task.id for task in await engine.list(owner=("user", "0"))] == [ids[3], ids[0]]
        assert len(await engine.list(handler="rest")) == 1
        assert len(await engine.list(source="web")) == 6
        page = await engine.list(source="web", limit=4)
        await engine.submit(work.using(source="web"), 10)
        rest_of_it = await engine.list(source="web", limit=4, before=page[-1])
        assert [task.id for task in page + rest_of_it] == ids[::-1]
        assert await engine.list(source="web", before=rest_of_it[-1]) == []


@simulated
async def test_b_wait(world: World) -> None:
    """B, Wait: it polls every 50 ms until the task has ended, or the caller's time is up; interrupted counts as an end.

    Better: the end is pushed, so nothing polls; the task is returned however it ended, result() raises what went wrong.
    """
    queue = Queue("q", on_crash="interrupt")

    @queue.handler
    async def work(seconds: float) -> str:
        await trio.sleep(seconds)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work, 10.001)
        with pytest.raises(trio.TooSlowError):
            await handle.wait(timeout=3)
        assert world.time() == 3
        assert (await handle.wait()).result == "done"
        assert world.time() == 10.001, "not a tick later"
        handle = await engine.submit(work, 10)
        with trio.move_on_after(1) as patience:
            await handle.wait()
        assert patience.cancelled_caught
        await world.crash()
        assert (await handle.wait()).state == "interrupted"
        with pytest.raises(TaskFailed, match="interrupted"):
            await handle.result()


# row 42
@simulated
async def test_b_waiting_by_id(world: World) -> None:
    """B, Wait: by the id of the task, whoever submitted it, also after a restart.

    Same: engine.wait(id), which carries on across a crash in simulation, as handles do.
    """
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> int:
        await trio.sleep(10)
        return n

    async with world.engine(queues=[queue]) as engine:
        ids = [(await engine.submit(work, n)).id for n in range(3)]
        await world.advance(seconds=15)
    async with world.engine(queues=[queue]) as engine:
        assert (await engine.wait(ids[0])).result == 0
        with pytest.raises(trio.TooSlowError):
            await engine.wait(ids[2], timeout=1)
        await world.crash()
        assert (await engine.wait(ids[2])).result == 2
        with pytest.raises(TaskNotFound):
            await engine.wait(str(uuid.uuid4()))
        with pytest.raises(TaskNotFound):
            await engine.wait("no id at all")


@simulated
async def test_b_waiting_for_what_is_gone(world: World) -> None:
    """B, Wait: an unknown task is not found.

    Same: also one that retention has dropped; and waiting when the engine stops ends with EngineStopped instead of waiting for ever.
    """
    queue = Queue("q", retention=Retention(succeeded=60))

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(minutes=2)
        with pytest.raises(TaskNotFound):
            await handle.wait()
        far_off = await engine.submit(work.using(delay=1000))
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(EngineStopped):
                    await far_off.wait()

            nursery.start_soon(wait)
            await world.advance(seconds=1)
            await engine.stop()


@simulated
async def test_b_progress(world: World) -> None:
    """B, Controller: UpdateProgress stores a text, the last one wins and stays after the end; IsCancelled asks.

    Better: a fraction and a text, visible at once, on record at most once a second; ctx.cancelled asks.
    """
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context) -> None:
        for n in range(1, 5):
            ctx.progress(n / 4, f"{n} of 4")
            await trio.sleep(1)
            assert not ctx.cancelled

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        seen = []
        for _ in range(4):
            await world.advance(seconds=0.5)
            task = await engine.get(handle.id)
            seen.append((task.progress, task.message))
            await world.advance(seconds=0.5)
        assert seen == [(n / 4, f"{n} of 4") for n in range(1, 5)]
        task = await handle.wait()
        assert (task.progress, task.message) == (1.0, "4 of 4")


@simulated
async def test_b_a_restart_interrupts_what_ran(world: World) -> None:
    """B, restart: what was running is interrupted, for good, with its attempt kept; what waited goes on waiting.

    Same: with on_crash="interrupt"; finished_at is set, and a person may still send it round again.  The default is to run it again.
    """
    queue, runs = Queue("q", on_crash="interrupt", retry=Retry(attempts=5)), []

    @queue.handler
    async def work(n: int) -> int:
        runs.append(n)
        await trio.sleep(10)
        return n

    async with world.engine(queues=[queue]) as engine:
        running, waiting = await engine.submit_many([work.bind(1), work.bind(2)])
        scheduled = await engine.submit(work.using(delay=60), 3)
        await world.advance(seconds=5)
        await world.crash()
        task = await running.wait()
        assert (task.state, task.attempt, task.failures) == ("interrupted", 1, 0)
        assert task.finished_at is not None
        assert [await waiting.result(), await scheduled.result()] == [2, 3]
        await world.advance(hours=1)
        assert runs == [1, 2, 3]
        await engine.retry(running.id, reason="looked at by hand")
        assert await running.result() == 1


async def test_b_a_store_that_cannot_be_recovered(tmp_path: Path) -> None:
    """B, restart: when the recovery fails, Start fails with its error and nothing runs.

    Same: JournalCorrupt, which says where; the journal is left as it was found.
    """
    queue, ran = Queue("q"), []

    @queue.handler
    async def work(n: int) -> None:
        ran.append(n)

    async with Engine(tmp_path / "jobs", [queue]) as engine:
        await engine.submit_many([work.using(delay=3600).bind(n) for n in range(50)])
    file = tmp_path / "jobs" / "data.mdb"
    data = bytearray(file.read_bytes())
    data[:] = b"\x5a" * len(data)
    file.write_bytes(data)
    with pytest.raises(JournalCorrupt):
        async with Engine(tmp_path / "jobs", [queue]):
            raise AssertionError("it opened")
    assert file.read_bytes() == data
    assert ran == []


async def test_b_entering_twice() -> None:
    """B, Start and Stop: a second Start does nothing and reports nothing.

    Different: an engine is a block; entering it twice at once is an error, entering it again later opens it again.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        return "done"

    engine = Engine(None, [queue])
    for _ in range(2):
        async with engine:
            with pytest.raises(RuntimeError, match="already entered"):
                async with engine:
                    pass
            assert await (await engine.submit(work)).result() == "done"


@simulated
async def test_b_stop_and_what_runs(world: World) -> None:
    """B, Start and Stop: its documentation says that running tasks are not interrupted; they are, and end cancelled.

    Mended: they get `grace` seconds to finish; what does not goes back to waiting, uncharged, and runs after the next start.
    """
    queue = Queue("q", concurrency=2, retry=Retry(attempts=1))

    @queue.handler
    async def work(seconds: float) -> str:
        await trio.sleep(seconds)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        short, long = await engine.submit_many([work.bind(5), work.bind(50)])
        waiting = await engine.submit(work, 1)
        assert await engine.stop(grace=20) is False
        assert world.time() == 20
    async with world.engine(queues=[queue]) as engine:
        assert (await engine.get(short.id)).state == "succeeded"
        await engine.drain()
        tasks = [await engine.get(handle.id) for handle in (long, waiting)]
        assert [(task.state, task.failures, task.crashes) for task in tasks] == [("succeeded", 0, 0)] * 2


@simulated
async def test_b_retention(world: World) -> None:
    """B, retention: none: everything is kept for ever.

    Mended: an hour, or a week for what failed, unless told otherwise; None is for ever.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(hours=1.1)
        assert await is_gone(engine, handle.id)
        assert await engine.count() == 0


@simulated
async def test_b_two_who_write_to_one_task(world: World) -> None:
    """B, partial updates: each writer updates its own columns, so that progress and status do not stomp on each other.

    Same: every change is an event of its own, and one actor owns the queue.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(0)))

    @queue.handler
    async def work(ctx: Context) -> str:
        for n in range(100):
            ctx.progress(n / 100)
            await trio.sleep(0.1)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work.using(tags=("kept",), meta={"trace": "t1"}))
        await world.advance(seconds=2.05)
        await engine.pause("q")
        await engine.resume("q")
        task = await engine.get(handle.id)
        assert (task.state, task.tags, task.meta["trace"]) == ("running", ("kept",), "t1")
        assert task.progress == pytest.approx(0.2)
        await handle.result()
        with pytest.raises(TaskNotFound):
            await engine.cancel(str(uuid.uuid4()))


@simulated
async def test_b_the_parent_of_a_task(world: World) -> None:
    """B, reserved fields: ParentTaskID is there and unused.

    Better: a task that a handler submits knows its parent, exists only if that run succeeds, and is found by it.
    """
    queue = Queue("q")

    @queue.handler
    async def child(n: int) -> None: ...

    @queue.handler
    async def parent(ctx: Context) -> None:
        for n in range(3):
            await ctx.submit(child, n)

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(parent)
        await engine.drain()
        children = await engine.list(parent=handle.id)
        assert [(task.parent, task.payload) for task in children] == [(handle.id, ([n], {})) for n in (2, 1, 0)]
