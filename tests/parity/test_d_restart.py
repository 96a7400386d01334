"""backlite: what a crash leaves, stopping, and starting again."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from journeyman import Engine, EngineStopped, Queue
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_d_a_dead_process(world: World) -> None:
    """D, restart: what a dead process had claimed is taken again when ReleaseAfter has passed and something happens to wake the client,
    so that on an idle system it can hang for ever.

    Mended: at once when the journal is opened, with nobody there to wake it.
    """
    queue, starts = Queue("q"), []

    @queue.handler
    async def work() -> None:
        starts.append(world.time())
        await trio.sleep(100)

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=50)
        await world.crash()
        await handle.wait()
    assert starts == [0, 51]


@simulated
async def test_d_longer_than_release_after(world: World) -> None:
    """D, restart: a handler that takes longer than ReleaseAfter is run a second time beside the first.

    Mended: no run is ever begun while another one lives.
    """
    queue, inside, most, runs = Queue("q", concurrency=5), 0, 0, 0

    @queue.handler
    async def work() -> None:
        nonlocal inside, most, runs
        inside, runs = inside + 1, runs + 1
        most = max(most, inside)
        await trio.sleep(86_400)
        inside -= 1

    async with world.engine(queues=[queue]) as engine:
        await (await engine.submit(work)).wait()
    assert (most, runs) == (1, 1)


@simulated
async def test_d_a_task_that_crashes_the_process(world: World) -> None:
    """D, restart: MaxAttempts is not looked at when a task is claimed, so that one which crashes the process does so for ever.

    Mended: a crash budget of its own, three unless told otherwise.
    """
    queue, runs = Queue("q"), []

    @queue.handler
    async def work() -> None:
        runs.append(1)
        await world.crash()

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(work.using(delay=1))).wait()
        assert (task.state, task.crashes, len(runs)) == ("failed", 4, 4)


@simulated
async def test_d_start_again(world: World) -> None:
    """D, Start: does nothing while it runs, and may start again after a stop.

    Different: while it is entered, entering it is an error; afterwards it may be entered again.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        return "done"

    engine = world.engine(queues=[queue])
    for _ in range(3):
        async with engine:
            with pytest.raises(RuntimeError, match="already entered"):
                await engine.__aenter__()
            assert await (await engine.submit(work)).result() == "done"


@pytest.mark.parametrize(("grace", "finished"), [(10, True), (1, False)])
@simulated
async def test_d_a_graceful_stop(world: World, grace: float, finished: bool) -> None:
    """D, Stop: fetches no more, lets the handlers finish, and says whether all were idle in time; a task that was claimed and not begun may
    be dropped for as long as ReleaseAfter.

    Mended: the same answer; whatever was not finished waits, uncharged, and runs at the next start.
    """
    queue = Queue("q", concurrency=2)

    @queue.handler
    async def work(n: int) -> int:
        await trio.sleep(5)
        return n

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([work.bind(n) for n in range(6)])
        await world.advance(seconds=0.5)
        assert await engine.stop(grace=grace) is finished
    async with world.engine(queues=[queue]) as engine:
        assert await engine.count(state="succeeded") == (2 if finished else 0)
        began = world.time()
        await engine.drain()
        assert world.time() - began == (10 if finished else 15)
        tasks = [await engine.get(handle.id) for handle in handles]
        assert [(task.result, task.failures, task.crashes) for task in tasks] == [(n, 0, 0) for n in range(6)]


async def test_d_stop_when_it_does_not_run() -> None:
    """D, Stop: true when it is not running.

    Different: an engine that is not open says so: EngineStopped.
    """
    with pytest.raises(EngineStopped):
        await Engine(None, [Queue("q")]).stop()


async def test_d_a_hard_stop(tmp_path: Path) -> None:
    """D, hard stop: cancelling the context given to Start cancels the handlers, and a success that comes then is not recorded: the task
    runs again after ReleaseAfter.

    Mended: what has been returned is recorded; what was cut off waits, uncharged, and runs at the next start.
    """
    queue, done, entered = Queue("q", concurrency=2), [], []

    @queue.handler
    async def work(shielded: bool) -> str:
        entered.append(shielded)
        with trio.CancelScope(shield=shielded):
            await trio.sleep(0.05)
        done.append(shielded)
        return "done"

    with trio.CancelScope() as scope:
        async with Engine(tmp_path / "jobs", [queue]) as engine:
            handles = await engine.submit_many([work.bind(True), work.bind(False)])
            while len(entered) < 2:
                await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.sleep_forever()
    assert done == [True]
    async with Engine(tmp_path / "jobs", [queue]) as engine:
        await engine.drain(timeout=10)
        tasks = [await engine.get(handle.id) for handle in handles]
        assert [(task.state, task.attempt, task.failures, task.crashes) for task in tasks] == [
            ("succeeded", 1, 0, 0),
            ("succeeded", 2, 0, 0),
        ]
    assert done == [True, False]
