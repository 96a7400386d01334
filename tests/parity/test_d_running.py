"""backlite: dispatch, failures, and what is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from journeyman import Constant, Context, Engine, JournalLocked, Priority, Queue, Retention, Retry
from journeyman.sim import World
from tests.parity.virtual import is_gone, simulated


@simulated
async def test_d_nothing_polls(world: World) -> None:
    """D, dispatch: no polling: an added task, a failure, a free worker or the next due instant wakes it.

    Same: one alarm for the engine; all starts are in the instant they are due.
    """
    queue, late = Queue("q", concurrency=9), []

    @queue.handler
    async def work(due: float) -> None:
        late.append(world.time() - due)

    async with world.engine(queues=[queue]) as engine:
        for n in (0.0, 0.001, 1.37, 86_400.5):
            await engine.submit(work.using(delay=n), n)
        await world.advance(days=1.1)
    assert len(late) == 4
    assert all(0 <= one < 0.0001 for one in late)


@simulated
async def test_d_retries_do_not_starve(world: World) -> None:
    """D, dispatch: immediate tasks always go before delayed and retried ones, which starve while there is load.

    Mended: everything goes by its first due instant: under load that never ends each task still has its turn.
    """
    queue, order = Queue("q", retry=Retry(attempts=2, backoff=Constant(2), jitter=0)), []

    @queue.handler
    async def work(ctx: Context, name: str) -> None:
        order.append(name)
        await trio.sleep(1)
        if name == "fails once" and ctx.attempt == 1:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await engine.submit(work, "fails once")
        await engine.submit(work.using(delay=10), "delayed")

        async def load() -> None:
            for n in range(120):
                await engine.submit(work, f"load {n}")
                await trio.sleep(0.5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load)
            await world.advance(seconds=40)
            assert order.count("fails once") == 2
            assert order.index("fails once", 1) <= 4
            assert "delayed" in order
        await engine.drain()


@simulated
async def test_d_workers(world: World) -> None:
    """D, dispatch: one pool of workers for all queues, none for each queue, no priorities.

    Better: a bound for each queue, one over all of them, shared fairly, and priorities.
    """
    one, other, order = Queue("one", concurrency=2), Queue("other", concurrency=4), []

    @one.handler
    async def work(n: int) -> None:
        order.append(n)
        await trio.sleep(1)

    @other.handler
    async def more(n: int) -> None:
        order.append(n)
        await trio.sleep(1)

    async with world.engine(queues=[one, other], max_concurrency=3) as engine:
        await engine.submit_many([work.using(priority=Priority.HIGH if n == 9 else Priority.NORMAL).bind(n) for n in range(10)])
        await engine.submit_many([more.bind(100 + n) for n in range(10)])
        await world.advance(seconds=0.5)
        assert await engine.count(state="running") == 3
        assert await engine.count("one", "running") <= 2
        await engine.drain()
    assert order.index(9) <= 2


async def test_d_a_second_process(tmp_path: Path) -> None:
    """D, dispatch: tasks are selected and then claimed, which is safe for one process only; nothing keeps a second one out.

    Mended: the journal has a lock; who comes second is told who has it.
    """
    async with Engine(tmp_path / "jobs", [Queue("q")]):
        with pytest.raises(JournalLocked, match=str(os.getpid())):
            async with Engine(tmp_path / "jobs", [Queue("q")]):
                raise AssertionError("two engines on one journal")


@pytest.mark.parametrize("seconds", [20, 90])  # before and after the first checkpoint
@simulated
async def test_d_cleaning_up(world: World, seconds: float) -> None:
    """D, cleanup: every CleanupInterval what has expired is deleted; it is shown until then.

    Mended: what has expired is not shown from its instant on, and deleted soon after; nothing has to be set.
    """
    queue = Queue("q", retention=Retention(succeeded=seconds))

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
        await world.advance(seconds=seconds - 0.1)
        assert await engine.count() == 1
        await world.advance(seconds=0.2)
        assert await engine.count() == 0
        assert await engine.list() == []
        assert await is_gone(engine, handle.id)


@simulated
async def test_d_a_deadline_is_kept(world: World) -> None:
    """D, handler ctx: the time-out is a wish: a handler that does not look at its context runs on.

    Mended: an async handler is cancelled at its time-out; a thread is waited for, and its late word is not heard.
    """
    queue = Queue("q", timeout=5)

    @queue.handler
    async def work() -> None:
        for _ in range(100):
            await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(work)).wait()
        assert (task.state, world.time()) == ("failed", 5)


@simulated
async def test_d_panic(world: World) -> None:
    """D, panic: recovered: a failure whose text is the value of the panic.

    Same: any exception, with its traceback.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(0)))

    @queue.handler
    async def work() -> None:
        raise SystemExit("a value")

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(work)).wait()
        assert task.error is not None
        assert (task.state, task.error.type, task.error.message) == ("failed", "SystemExit", "a value")


@simulated
async def test_d_arguments_that_no_longer_fit(world: World) -> None:
    """D, undecodable payload: an ordinary failure, tried again until the attempts are spent.

    Mended: found before a run begins: the task is parked, nothing is charged, and the release that takes such arguments runs it.
    """

    def release(kind: type) -> Queue:
        queue = Queue("q", retry=Retry(attempts=2))

        async def work(value: int) -> str:
            return repr(value)

        work.__annotations__["value"] = kind
        queue.handler(work)
        return queue

    async with world.engine(queues=[release(str)]) as engine:
        handle = await engine.submit(engine.handler("work", "q").using(delay=1), "seven")
    async with world.engine(queues=[release(int)]) as engine:
        await world.advance(minutes=9)
        task = await engine.get(handle.id)
        assert (task.state, task.attempt) == ("pending", 0)
        assert [reason.kind for reason in (await engine.explain(handle.id)).reasons] == ["unfit"]
    async with world.engine(queues=[release(str)]) as engine:
        await engine.drain()
        assert (await engine.get(handle.id)).result == "'seven'"


@pytest.mark.parametrize("attempts", [1, 3])
@simulated
async def test_d_failures(world: World, attempts: int) -> None:
    """D, failure: MaxAttempts counts all runs; between them a constant backoff, 0 for at once.

    Same: Retry(attempts=n, backoff=Constant(seconds), jitter=0).
    """
    queue = Queue("q", concurrency=2, retry=Retry(attempts=attempts, backoff=Constant(45), jitter=0))
    hasty = Queue("hasty", retry=Retry(attempts=attempts, backoff=Constant(0)))

    async def work() -> None:
        raise ValueError

    queue.handler(name="work")(work)
    hasty.handler(name="hurry")(work)
    async with world.engine(queues=[queue, hasty]) as engine:
        one, other = await engine.submit("work"), await engine.submit("hurry")
        await other.wait()
        assert world.time() < 0.001
        await one.wait()
        (await world.history(one)).assert_ran(attempts, apart=45, tolerance=0).then_dead_lettered()
        (await world.history(other)).assert_ran(attempts, apart=0, tolerance=0).then_dead_lettered()


@pytest.mark.parametrize(
    ("retention", "kept", "payloads"),
    [
        (Retention(succeeded=0, failed=0), [], []),
        (Retention(succeeded=0, failed=None), ["failed"], ["failed"]),
        (Retention(succeeded=None, failed=None), ["succeeded", "failed"], ["succeeded", "failed"]),
        (Retention(succeeded=None, failed=None, payload=False), ["succeeded", "failed"], []),
        (Retention(succeeded=None, failed=None, payload="failed"), ["succeeded", "failed"], ["failed"]),
    ],
    ids=["nothing", "only failed", "for ever", "without data", "data of failed"],
)
@simulated
async def test_d_what_is_kept(world: World, retention: Retention, kept: list[str], payloads: list[str]) -> None:
    """D, final: nothing is kept without Retention; OnlyFailed, Duration 0 for ever, Data nil and Data.OnlyFailed say what is.

    Same: by Retention, for each ending; by default an hour, a week for what failed.
    """
    queue = Queue("q", retention=retention)

    @queue.handler
    async def work(ends: str) -> None:
        if ends == "failed":
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handles = {ends: await engine.submit(work, ends) for ends in ("succeeded", "failed")}
        for ends, handle in handles.items():
            assert (await handle.wait()).state == ends, "whoever waits is told, even of what is not kept"
        await world.advance(days=3)
        assert [ends for ends, handle in handles.items() if not await is_gone(engine, handle.id)] == kept
        assert [task.state for task in (await engine.list())[::-1] if task.payload is not None] == payloads


@simulated
async def test_d_what_a_kept_task_tells(world: World) -> None:
    """D, final: id, created, queue, last executed, attempts, last duration, succeeded, payload, expiry, error.

    Better: these, every run's instants and error, and the result.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(10), jitter=0))

    @queue.handler
    async def work(n: int) -> None:
        await trio.sleep(4)
        raise ValueError("broken")

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work, 5)
        await handle.wait()
        task = await engine.get(handle.id)
        assert task.error is not None
        assert task.started_at is not None
        assert task.finished_at is not None
        assert task.expires_at is not None
        assert (task.id, task.queue, task.attempt, task.payload, task.error.message) == (handle.id, "q", 2, ([5], {}), "broken")
        assert (task.finished_at - task.started_at).total_seconds() == 4
        assert (task.expires_at - task.finished_at).days == 7
        runs = (await world.history(handle)).attempts
        assert [(run.outcome, run.error) for run in runs] == [("failed", "ValueError: broken")] * 2
        assert [round((run.started_at - task.submitted_at).total_seconds(), 3) for run in runs] == [0, 14]


@simulated
async def test_d_what_it_does_not_have(world: World) -> None:
    """D, no: no cancel, no list, no pause, no priority, no progress, no result, no attempt number.

    Better: all of them.
    """
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context, n: int) -> int:
        ctx.progress(0.5, "half")
        await trio.sleep(10)
        return n * ctx.attempt

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q", reason="a look round")
        low, high = await engine.submit_many([work.using(priority=Priority.LOW).bind(1), work.using(priority=Priority.HIGH).bind(2)])
        await world.advance(hours=1)
        assert await engine.count(state="pending") == 2
        assert "a look round" in str(await engine.explain(low.id))
        await low.cancel("not wanted")
        await engine.resume("q")
        await world.advance(seconds=5)
        task = (await engine.list(state="running"))[0]
        assert (task.id, task.progress, task.message) == (high.id, 0.5, "half")
        assert await high.result() == 2
