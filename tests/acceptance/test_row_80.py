"""Row 80: the fence on every word of a stale attempt."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Context, Engine, Queue, Retry
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock, told, until


class Zombie:
    """A thread handler that outlives its time-out of half a minute and then does as it is told, in its own thread."""

    def __init__(self, says: Any) -> None:
        self.queue = Queue("q", timeout=30, retry=Retry(attempts=3, backoff=Constant(1000), jitter=0))
        self.entered, self.go = threading.Event(), threading.Event()

        @self.queue.handler
        def work(ctx: Context) -> str:
            ctx.progress(0.25, "in time")
            self.entered.set()
            self.go.wait(20)
            says(ctx)
            return "too late"

        self.work = work


def ignore(ctx: Context) -> None: ...


def raises(ctx: Context) -> None:
    raise ValueError("too late")


def progresses(ctx: Context) -> None:
    for _ in range(20):
        ctx.progress(0.99, "too late")


def beats(ctx: Context) -> None:
    for _ in range(20):
        ctx.heartbeat()


# row 80
@pytest.mark.parametrize(
    ("says", "rejected"),
    [(ignore, ["success"]), (raises, ["failure"]), (progresses, ["progress", "success"]), (beats, ["heartbeat", "success"])],
    ids=["success", "failure", "progress", "heartbeat"],
)
async def test_row_80_the_word_of_a_stale_attempt_changes_nothing_and_is_journalled_once(
    says: Any, rejected: list[str], leaping_clock: trio.testing.MockClock
) -> None:
    zombie, store = Zombie(says), MemoryStore()
    try:
        async with Engine(None, [zombie.queue], store=store) as engine:
            handle = await engine.submit(zombie.work)
            await told(zombie.entered)
            leaping_clock.jump(30)

            async def failed() -> bool:
                return (await engine.get(handle.id)).failures == 1

            await until(failed)
            before = await engine.get(handle.id)
            zombie.go.set()

            async def rejections() -> bool:
                return sum(e.kind == "TransitionRejected" for e in await engine.history(handle.id)) == len(rejected)

            await until(rejections)
            assert await engine.get(handle.id) == before, "nothing of it may show"
            assert (before.state, before.message, before.progress) == ("retrying", "in time", 0.25)
            events = [e for e in await engine.history(handle.id) if e.kind == "TransitionRejected"]
            assert sorted(e.details["kind"] for e in events) == rejected, "once for each kind, however often it was said"
            assert {e.attempt for e in events} == {1}
            assert {e.details["state"] for e in events} == {"retrying"}
    finally:
        zombie.go.set()
    async with Engine(None, [zombie.queue], store=store) as engine:
        after = await engine.get(handle.id)
        assert (after.state, after.message, after.failures) == ("retrying", "in time", 1)


# row 80
async def test_row_80_a_stale_attempt_cannot_submit_with_its_success(leaping_clock: trio.testing.MockClock) -> None:
    made: list[str] = []

    def submits(ctx: Context) -> None:
        made.append(ctx.submit("child").id)

    zombie = Zombie(submits)

    @zombie.queue.handler
    async def child() -> None: ...

    try:
        async with Engine(None, [zombie.queue]) as engine:
            handle = await engine.submit(zombie.work)
            await told(zombie.entered)
            leaping_clock.jump(30)

            async def failed() -> bool:
                return (await engine.get(handle.id)).failures == 1

            await until(failed)
            zombie.go.set()

            async def rejected() -> bool:
                return (await engine.history(handle.id))[-1].kind == "TransitionRejected"

            await until(rejected)
            assert await engine.count(handler="child") == 0
    finally:
        zombie.go.set()


# row 80
async def test_row_80_the_epoch_rises_with_every_boot_and_every_start_bears_it(autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", retry=Retry(attempts=9)), MemoryStore()

    @queue.handler
    async def work() -> None:
        await trio.sleep_forever()

    epochs = []
    for boot in range(3):
        async with Engine(None, [queue], store=store, clock=TrioClock(), grace=0) as engine:
            if not boot:
                handle = await engine.submit(work)
            await trio.sleep(1)
            epochs.append([e.epoch for e in await engine.history(handle.id) if e.kind == "AttemptStarted"][-1])
    assert epochs == [1, 2, 3]
