"""backlite: what its users asked for, or built beside it."""

from __future__ import annotations

import pytest
import trio

from journeyman import Constant, Context, DuplicateTask, Engine, Queue, Retry
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_d_no_duplicates(world: World) -> None:
    """D, asked for: a way to keep a task from being put in again while the first one has not ended.

    Better: using(unique=...): the first one is returned, or the submit is refused; across restarts.
    """
    queue, runs = Queue("q"), []

    @queue.handler
    async def scan(library: str) -> None:
        runs.append(library)
        await trio.sleep(60)

    async with world.engine(queues=[queue]) as engine:
        first = await engine.submit(scan.using(unique="music"), "music")
        for _ in range(3):
            assert (await engine.submit(scan.using(unique="music"), "music")).id == first.id
            await world.advance(seconds=10)
        with pytest.raises(DuplicateTask):
            await engine.submit(scan.using(unique="music", on_conflict="raise"), "music")
        await engine.submit(scan.using(unique="films"), "films")
        await world.crash()
        await engine.ready()
        assert (await engine.submit(scan.using(unique="music"), "music")).id == first.id
        await engine.drain()
        again = await engine.submit(scan.using(unique="music"), "music")
        assert again.id != first.id
        await engine.drain()
    assert runs == ["music", "music", "films", "music"]


@simulated
async def test_d_two_at_once(world: World) -> None:
    """D, asked for: to look whether a task is there and to add it are two calls, between which another can add it too.

    Mended: the look is part of the submit, so that of any number at once one task comes.
    """
    queue, runs, ids = Queue("q"), [], set()

    @queue.handler
    async def scan() -> None:
        runs.append(world.time())
        await trio.sleep(5)

    async with world.engine(queues=[queue]) as engine:

        async def ask() -> None:
            ids.add((await engine.submit(scan.using(unique="all"))).id)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        handles = await engine.submit_many([scan.using(unique="all").bind(), scan.using(unique="all").bind()])
        assert {handle.id for handle in handles} == ids
        await engine.drain()
    assert (len(ids), len(runs)) == (1, 1)


@simulated
async def test_d_a_unique_task_that_fails(world: World) -> None:
    """D, asked for: what was put in once and failed must be possible to put in again.

    Better: a retry is not in its own way, failure and cancel release the key; unique_for keeps it for a while after a success.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(10)))

    @queue.handler
    async def work(ctx: Context, fails: bool) -> int:
        if fails:
            raise ValueError
        return ctx.attempt

    async with world.engine(queues=[queue]) as engine:
        only = work.using(unique="u", unique_for=3600)
        first = await engine.submit(only, True)
        assert (await first.wait()).failures == 2
        second = await engine.submit(only, False)
        assert second.id != first.id
        await second.wait()
        await world.advance(minutes=30)
        with pytest.raises(DuplicateTask):
            await engine.submit(only.using(on_conflict="raise"), False)
        await world.advance(minutes=31)
        third = await engine.submit(only, False)
        assert third.id not in (first.id, second.id)


@simulated
async def test_d_the_newest_wins(world: World) -> None:
    """D, asked for: of several that wait for the same thing only the newest need run, once things have calmed down.

    Better: on_conflict="replace", or debounce= with the longest that it may be put off, max_wait=.
    """
    queue, seen = Queue("q"), []

    @queue.handler
    async def index(version: int) -> None:
        seen.append((version, round(world.time())))

    async with world.engine(queues=[queue]) as engine:
        for version in range(4):
            await engine.submit(index.using(unique="replaced", on_conflict="replace", delay=60), version)
            await world.advance(seconds=10)
        await world.advance(minutes=2)
        assert seen == [(3, 90)]
        seen.clear()
        began = round(world.time())
        for version in range(10):
            await engine.submit(index.using(unique="calm", debounce=30, max_wait=100), version)
            await world.advance(seconds=20)
        await world.advance(minutes=5)
    assert seen[0] == (4, began + 100) or seen[0] == (5, began + 100)
    assert seen[-1] == (9, began + 180 + 30)
    assert len(seen) == 2


async def test_d_running_and_looking() -> None:
    """D, asked for: a table of their own in which users kept status, progress, errors and results, for the queue tells only the status.

    Mended: get and history have them all, while it runs and for as long as it is kept.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(0)))

    @queue.handler
    async def work(ctx: Context) -> str:
        ctx.progress(0.5, "half way")
        if ctx.attempt == 1:
            raise OSError("no disk")
        return "done"

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        task = await handle.wait(timeout=10)
        assert (task.result, task.progress, task.message, task.failures) == ("done", 0.5, "half way", 1)
        failed = next(event for event in await engine.history(handle.id) if event.kind == "AttemptFailed")
        assert failed.details["error"][1] == "no disk"
