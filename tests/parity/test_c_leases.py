"""zapfs's taskqueue: leases, heartbeats, stale workers, and who may speak for a task."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter

import trio
import trio.testing

from journeyman import (
    Constant,
    Context,
    Engine,
    NotCancellable,
    NotRetryable,
    Queue,
    Retry,
)  # fmt: skip
from journeyman.sim import Faults, World, simulate
from tests.parity.virtual import simulated


async def test_c_an_attempt_that_is_over_cannot_complete(leaping_clock: trio.testing.MockClock) -> None:
    """C, Complete: it sets the status by id, whoever says so, so that a worker whose lease ran out overwrites what came after it.

    Mended: every word of a run bears its number; what a stale run says is put on record as rejected, and changes nothing.
    """
    queue = Queue("q", concurrency=2, retry=Retry(attempts=2, backoff=Constant(0)))
    entered, let_go, gone = threading.Event(), threading.Event(), threading.Event()

    @queue.handler(timeout=30)
    def work(ctx: Context) -> str:
        if ctx.attempt == 1:
            entered.set()
            let_go.wait(10)  # does not look at ctx.cancelled
            gone.set()
        return f"of run {ctx.attempt}"

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        await trio.to_thread.run_sync(entered.wait, 10)
        leaping_clock.jump(30)
        with trio.fail_after(10):
            while not (await engine.get(handle.id)).failures:
                await trio.lowlevel.checkpoint()
        assert not gone.is_set()
        assert (await engine.get(handle.id)).attempt == 1, "no second run beside the thread that is left over"
        let_go.set()
        assert await handle.result(timeout=10) == "of run 2"
        kinds = [event.kind for event in await engine.history(handle.id)]
        assert kinds == ["TaskSubmitted", "AttemptStarted", "AttemptFailed", "TransitionRejected", "AttemptStarted", "TaskSucceeded"]


def test_c_everybody_at_once() -> None:
    """C, Fail: it reads the task and writes it back, so that two at once lose one of the changes.

    Mended: one actor owns the queue; whatever is done at once, each task has one history, in which each change follows from the last.
    """
    ends: Counter[str] = Counter()

    async def scenario(world: World) -> None:
        queue = Queue("q", concurrency=3, retry=Retry(attempts=3, backoff=Constant(0.05)))

        @queue.handler
        async def work(n: int) -> int:
            await trio.sleep(world.random.uniform(0, 0.2))
            if world.random.random() < 0.5:
                raise ValueError
            return n

        async with world.engine(queues=[queue]) as engine:
            handles = await engine.submit_many([work.bind(n) for n in range(12)])

            async def meddle(id: str) -> None:
                await trio.sleep(world.random.uniform(0, 1))
                with contextlib.suppress(NotCancellable, NotRetryable):
                    await world.random.choice([engine.cancel, engine.retry])(id)

            async with trio.open_nursery() as nursery:
                for handle in handles * 3:
                    nursery.start_soon(meddle, handle.id)
            await engine.drain()
            for handle in handles:
                task = await engine.get(handle.id)
                ends[task.state] += 1
                runs = (await world.history(handle)).attempts
                assert [run.number for run in runs] == list(range(1, task.attempt + 1))
                assert all(run.outcome != "running" for run in runs)
                assert task.failures <= 3

    for seed in range(25):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.02)))
    assert set(ends) == {"succeeded", "failed", "cancelled"}


async def test_c_the_beat_of_a_run_that_is_over(leaping_clock: trio.testing.MockClock) -> None:
    """C, Heartbeat: one of a worker that no longer has the task is refused.

    Same: what a run that is over beats or tells of its progress changes nothing; it is on record once.
    """
    queue = Queue("q", concurrency=2, retry=Retry(attempts=2, backoff=Constant(0)))
    entered, let_go, gone = threading.Event(), threading.Event(), threading.Event()
    second = trio.Event()

    @queue.handler(timeout=30)
    def work(ctx: Context) -> None:
        entered.set()
        let_go.wait(10)
        ctx.progress(0.9, "of a run that is over")
        ctx.heartbeat()
        gone.set()

    @queue.handler
    async def other() -> None:
        await second.wait()

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work.using(attempts=1))
        await trio.to_thread.run_sync(entered.wait, 10)
        leaping_clock.jump(30)
        task = await handle.wait(timeout=10)
        assert (task.state, task.message) == ("failed", None)
        let_go.set()
        await trio.to_thread.run_sync(gone.wait, 10)
        after = await engine.submit(other)
        second.set()
        await after.wait(timeout=10)
        task = await engine.get(handle.id)
        assert (task.state, task.progress, task.message) == ("failed", None, None)
        rejected = [event for event in await engine.history(handle.id) if event.kind == "TransitionRejected"]
        assert len(rejected) <= 3


@simulated
async def test_c_a_handler_that_takes_long(world: World) -> None:
    """C, Heartbeat: the worker never sends one, so that a task longer than the visibility time-out of five minutes runs twice.

    Mended: there is no lease to run out: the journal has one engine, and a run is lost when that engine has died.
    """
    queue, runs = Queue("q", concurrency=5), []

    @queue.handler
    async def work() -> str:
        runs.append(world.time())
        await trio.sleep(6 * 3600)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        assert await (await engine.submit(work)).result() == "done"
    assert runs == [0]


@simulated
async def test_c_heartbeats(world: World) -> None:
    """C, Heartbeat: a beat counts for a running task of the same worker, and keeps its lease.

    Same: heartbeat= is for handlers that may hang: one that stays silent so long has failed, one that beats may take all day.
    """
    queue = Queue("q", concurrency=2, heartbeat=60, retry=Retry(attempts=2, backoff=Constant(0)))

    @queue.handler
    async def work(ctx: Context, hangs: bool) -> str:
        for _ in range(20):
            await trio.sleep(50)
            ctx.heartbeat()
        if hangs and ctx.attempt == 1:
            await trio.sleep_forever()
        return f"run {ctx.attempt}"

    async with world.engine(queues=[queue]) as engine:
        well, ill = await engine.submit_many([work.bind(False), work.bind(True)])
        assert await well.result() == "run 1"
        assert world.time() == 1000
        assert await ill.result() == "run 2"
        assert world.time() == 1000 + 60 + 1000


@simulated
async def test_c_reclaiming(world: World) -> None:
    """C, ReclaimStale: stale tasks go back or become dead letters, if somebody calls it; nobody does, and Dequeue re-claims without a
    limit, so that a task which kills its worker goes round for ever.

    Mended: recovery is part of opening, nobody has to call it, and the crash budget ends a poison task.
    """
    queue, runs = Queue("q", retry=Retry(crashes=2)), []

    @queue.handler
    async def work() -> None:
        runs.append(world.time())
        await world.crash()

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work.using(delay=1))
        task = await handle.wait()
        assert (task.state, task.crashes, len(runs)) == ("failed", 3, 3)
        await world.advance(days=1)
        assert len(runs) == 3


@simulated
async def test_c_after_a_restart(world: World) -> None:
    """C, restart: what was running comes back when the visibility time-out has passed, five minutes later.

    Mended: at once, in the instant the journal is open again.
    """
    queue, starts = Queue("q"), []

    @queue.handler
    async def work() -> None:
        starts.append(world.time())
        await trio.sleep(100)

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=10)
        await world.crash()
        await handle.wait()
    assert starts == [0, 11]
