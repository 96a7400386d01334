"""tingly-box's task package: cancelling what waits, what runs, what has ended, and what is about to start."""

from __future__ import annotations

import uuid

import pytest
import trio

from journeyman import Context, NotCancellable, Queue, TaskCancelled, TaskNotFound
from journeyman.sim import Faults, World, simulate
from tests.parity.virtual import simulated


@simulated
async def test_b_cancelling_what_waits(world: World) -> None:
    """B, Cancel: an unknown task is not found; one that waits is cancelled at once, with the reason and the instants.

    Same.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work.using(delay=100))
        await world.advance(seconds=5)
        await engine.cancel(handle.id, "changed my mind")
        task = await engine.get(handle.id)
        assert task.finished_at is not None
        assert (task.state, task.reason, (task.finished_at - task.submitted_at).total_seconds()) == ("cancelled", "changed my mind", 5)
        with pytest.raises(TaskCancelled, match="changed my mind"):
            await handle.result()
        with pytest.raises(TaskNotFound):
            await engine.cancel(str(uuid.uuid4()))


@simulated
async def test_b_cancelling_what_runs(world: World) -> None:
    """B, Cancel: a running task is signalled, the call returns at once, the state changes when the handler has returned.

    Same.
    """
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context) -> None:
        try:
            await trio.sleep(1000)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(20)  # it cleans up
                assert ctx.cancelled

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=10)
        await engine.cancel(handle.id, "enough")
        assert world.time() == 10
        assert (await engine.get(handle.id)).state == "running"
        assert [reason.kind for reason in (await engine.explain(handle.id)).reasons] == ["cancelling"]
        assert (await handle.wait()).state == "cancelled"
        assert world.time() == 30


@simulated
async def test_b_the_reason_of_a_cancel(world: World) -> None:
    """B, Cancel: the reason given for a running task is lost: the handler's error stands in its place.

    Mended: the reason is kept, and the error beside it, in the history.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        try:
            await trio.sleep(1000)
        finally:
            raise OSError("while cleaning up")

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=10)
        await engine.cancel(handle.id, "the customer left", by="ada")
        task = await handle.wait()
        assert (task.state, task.reason) == ("cancelled", "the customer left")
        events = await engine.history(handle.id)
        asked = next(event for event in events if event.kind == "CancelRequested")
        assert (asked.details["by"], asked.details["reason"]) == ("ada", "the customer left")
        assert "while cleaning up" in events[-1].details["error"][1]


@pytest.mark.parametrize("ends", ["succeeded", "failed", "cancelled", "interrupted"])
@simulated
async def test_b_cancelling_what_has_ended(world: World, ends: str) -> None:
    """B, Cancel: a task that has succeeded, failed, was cancelled or interrupted cannot be cancelled.

    Same.
    """
    queue = Queue("q", on_crash="interrupt")

    @queue.handler
    async def work() -> None:
        if ends == "failed":
            raise ValueError
        await trio.sleep(10 if ends in ("cancelled", "interrupted") else 0)

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=1)
        if ends == "cancelled":
            await handle.cancel("once")
        if ends == "interrupted":
            await world.crash()
            await engine.ready()
        task = await handle.wait()
        assert task.state == ends
        with pytest.raises(NotCancellable, match=ends):
            await engine.cancel(handle.id, "twice")
        assert (await engine.get(handle.id)).reason == task.reason


def test_b_a_cancel_that_meets_the_start() -> None:
    """B, Cancel: a task that is cancelled between being found due and being dispatched runs all the same, its status overwritten.

    Mended: whatever the interleaving, what was acknowledged as cancelled before its start does not run, and what ran was told to end.
    """
    met: set[str] = set()

    async def scenario(world: World) -> None:
        queue = Queue("q", concurrency=2)
        entered: set[str] = set()

        @queue.handler
        async def work(ctx: Context) -> None:
            entered.add(ctx.id)
            world.effects.append(ctx.id)
            await trio.sleep(0.5)

        async with world.engine(queues=[queue]) as engine:
            handles = [await engine.submit(work.using(delay=0.01 * n)) for n in range(8)]

            async def cancel(id: str, at: float) -> None:
                await trio.sleep(at)
                try:
                    await engine.cancel(id, "raced", running=False)
                except NotCancellable:
                    met.add("refused")
                else:
                    met.add("cancelled")
                    assert (await engine.get(id)).state == "cancelled"
                    await world.advance(seconds=60)
                    assert id not in entered, "a cancelled task ran"

            async with trio.open_nursery() as nursery:
                for n, handle in enumerate(handles):
                    nursery.start_soon(cancel, handle.id, world.random.uniform(0, 0.02 * n))
            await engine.drain()
            for handle in handles:
                assert (handle.id in entered) == ((await handle.wait()).state == "succeeded")

    for seed in range(40):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.01)))
    assert met == {"refused", "cancelled"}
