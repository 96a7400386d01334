"""tingly-box's task package: what later work on it added."""

from __future__ import annotations

import pytest
import trio

from journeyman import NotWaiting, Priority, Queue
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_b_waking_a_task(world: World) -> None:
    """B, asked for: Wake: to run a task that waits for its time now.

    Better: reschedule, to any instant, sooner or later, on the record; what runs or has ended is refused.
    """
    queue, starts = Queue("q"), []

    @queue.handler
    async def work(n: int) -> None:
        starts.append((n, round(world.time())))
        await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine:
        soon, later = await engine.submit_many([work.using(delay=86_400).bind(1), work.using(delay=60).bind(2)])
        await world.advance(seconds=30)
        await engine.reschedule(soon.id, delay=0, reason="the customer called", by="ada")
        await engine.reschedule(later.id, delay=1800)
        await world.advance(seconds=0.5)
        with pytest.raises(NotWaiting):
            await engine.reschedule(soon.id, delay=5)
        await soon.wait()
        with pytest.raises(NotWaiting):
            await engine.reschedule(soon.id, delay=5)
        await world.crash()
        await later.wait()
        assert starts == [(1, 30), (2, 1830)]
        moved = next(event for event in await engine.history(soon.id) if event.kind == "TaskRescheduled")
        assert (moved.details["by"], moved.details["reason"]) == ("ada", "the customer called")


@simulated
async def test_b_changing_what_waits(world: World) -> None:
    """B, asked for: to change a task between its runs.

    Better: its instant and its priority, one task or all that a filter names, counted beforehand with dry_run.
    """
    queue, order = Queue("q"), []

    @queue.handler
    async def work(name: str) -> None:
        order.append(name)

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")
        handles = {name: await engine.submit(work.using(tags=(name[0],)), name) for name in ("a1", "b1", "a2", "b2", "c1")}
        await engine.reprioritise(handles["c1"].id, Priority.URGENT)
        assert await engine.reprioritise_all(tag="b", priority=Priority.HIGH, dry_run=True) == 2
        assert await engine.reprioritise_all(tag="b", priority=Priority.HIGH) == 2
        assert await engine.cancel_all(tag="a", reason="not needed", dry_run=True) == 2
        assert await engine.count(state="cancelled") == 0
        assert await engine.cancel_all(tag="a", reason="not needed") == 2
        await engine.resume("q")
        await engine.drain()
        assert order == ["c1", "b1", "b2"]
        assert await engine.retry_all(tag="a", state="cancelled") == 2
        await engine.drain()
        assert order == ["c1", "b1", "b2", "a1", "a2"]
