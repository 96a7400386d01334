"""Law 6: a new owner of a queue fences all attempts of the old one.  (Every other stale word: tests/kernel/test_ending.py.)"""

from __future__ import annotations

import trio

from journeyman.actors.attempt import current_attempt
from journeyman.engine import Context, Engine, Queue, State
from journeyman.journal.memory_store import MemoryStore
from journeyman.kernel.events import AttemptReleased, QueueOpened, TaskSucceeded, TransitionRejected
from tests.acceptance.stores import events_in


async def test_what_an_attempt_of_a_dead_actor_says_is_rejected_and_journalled() -> None:
    """The queue's actor dies of a bug while a handler runs.  The handler ignores that it was told to end, and returns."""
    store, lane = MemoryStore(), Queue("q")
    entered, go_on = trio.Event(), trio.Event()

    @lane.handler
    async def stubborn(ctx: Context) -> str:
        attempt = current_attempt.get()
        assert attempt is not None
        if ctx.attempt == 1:
            attempt.actor.crash(RuntimeError("a bug, for the sake of the test"))
            entered.set()
            with trio.CancelScope(shield=True):
                await go_on.wait()
        return f"said by attempt {ctx.attempt}"

    async with Engine("x", [lane], store=store) as engine:
        handle = await engine.submit(stubborn)
        await entered.wait()
        while (await engine.get(handle.id)).state is State.RUNNING and (await engine.get(handle.id)).attempt == 1:
            await trio.lowlevel.checkpoint()
        go_on.set()
        task = await handle.wait(timeout=10)
        assert (task.result, task.attempt, task.failures, task.crashes) == ("said by attempt 2", 2, 0, 0)
    events = [event for event in events_in(store) if event.queue == "q"]
    assert [event.epoch for event in events if isinstance(event, QueueOpened)] == [1, 2]
    assert [event.reason for event in events if isinstance(event, AttemptReleased)] == ["actor"]
    rejected = [(e.attempt, e.fence_epoch, e.kind) for e in events if isinstance(e, TransitionRejected)]
    assert rejected == [(1, 1, "success")]
    assert [event.attempt for event in events if isinstance(event, TaskSucceeded)] == [2]
