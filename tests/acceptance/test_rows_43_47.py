"""Rows 43 to 47: cancelling what waits and what runs, reasons, clear, stats."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import trio

from journeyman.engine import (
    Cancel,
    Constant,
    Context,
    Engine,
    NotCancellable,
    Queue,
    QueueNotFound,
    Rate,
    Retry,
    Snooze,
    State,
    TaskCancelled,
    TaskNotFound,
)  # fmt: skip
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import SlowStore, TrioClock, told


# row 43, row 45
async def test_row_43_pending_scheduled_retrying_and_snoozed_are_cancelled_at_once(autojump_clock: trio.testing.MockClock) -> None:
    queue, store, runs = Queue("q", concurrency=2, retry=Retry(attempts=5, backoff=Constant(1000))), MemoryStore(), []

    @queue.handler
    async def work(ctx: Context, how: str) -> None:
        runs.append((ctx.id, ctx.attempt))
        if how == "fail":
            raise ValueError("kept as evidence")
        if how == "snooze":
            raise Snooze(1000)

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        retrying, snoozed = await engine.submit_many([(work, ("fail",)), (work, ("snooze",))])
        await trio.sleep(1)
        await engine.pause("q")
        pending = await engine.submit(work, "run")
        scheduled = await engine.submit(work.using(delay=500), "run")
        handles = {"retrying": retrying, "snoozed": snoozed, "pending": pending, "scheduled": scheduled}
        states = [(await engine.get(h.id)).state for h in handles.values()]
        assert states == ["retrying", "scheduled", "pending", "scheduled"]
        for name, handle in handles.items():
            await engine.cancel(handle.id, f"because {name}", running=False)
            task = await handle.wait(timeout=0)
            assert (task.state, task.reason) == ("cancelled", f"because {name}")
            with pytest.raises(TaskCancelled, match=f"because {name}"):
                await handle.result()
            with pytest.raises(NotCancellable):
                await handle.cancel("again")
        with pytest.raises(TaskNotFound):
            await engine.cancel("01890000-0000-7000-8000-000000000000")
        await engine.resume("q")
        await trio.sleep(3000)
        assert len(runs) == 2, "what was cancelled never runs"
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        task = await engine.get(retrying.id)
        assert (task.state, task.reason, task.failures) == ("cancelled", "because retrying", 1)
        assert task.error is not None
        assert task.error.message == "kept as evidence"


# row 43
async def test_row_43_a_task_that_waits_for_a_token_is_cancellable(autojump_clock: trio.testing.MockClock) -> None:
    queue, runs = Queue("q", concurrency=5, rate=Rate(1, per=100.0)), []

    @queue.handler
    async def work(n: int) -> None:
        runs.append(n)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handles = await engine.submit_many([(work, (n,)) for n in range(3)])
        await trio.sleep(1)
        task = await engine.get(handles[1].id)
        assert task.state == "pending"
        await engine.cancel(handles[1].id, "no more", running=False)
        await handles[2].wait()
    assert runs == [0, 2]


# row 44, row 45
async def test_row_44_a_running_async_handler_cleans_up_and_ends_cancelled() -> None:
    queue, store, entered, cleaned = Queue("q"), MemoryStore(), trio.Event(), []

    @queue.handler
    async def work() -> None:
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                cleaned.append(True)

    async with Engine(None, [queue], store=store) as engine:
        handle = await engine.submit(work)
        await entered.wait()
        with pytest.raises(NotCancellable):
            await handle.cancel("only if it waits", running=False)
        await handle.cancel("enough")
        task = await handle.wait(timeout=5)
        assert (task.state, task.reason, task.failures, cleaned) == ("cancelled", "enough", 0, [True])
        kinds = [e.kind for e in await engine.history(handle.id)]
        assert kinds == ["TaskSubmitted", "AttemptStarted", "CancelRequested", "TaskCancelled"]
    async with Engine(None, [queue], store=store) as engine:
        assert (await engine.get(handle.id)).reason == "enough"


# row 44
@pytest.mark.parametrize("ends", ["value", "none", "raises", "fatal-looking group", "Cancel"])
async def test_row_44_what_an_async_handler_does_with_a_cancel_decides(ends: str) -> None:
    queue, entered = Queue("q", retry=Retry(attempts=3, backoff=Constant(0))), trio.Event()

    @queue.handler
    async def work() -> Any:
        entered.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if ends == "value":
                return "saved"
            if ends == "none":
                return None
            if ends == "raises":
                raise ValueError("in the clean-up") from None
            if ends == "Cancel":
                raise Cancel("my own words") from None
            raise ExceptionGroup("clean-up", [OSError("a"), OSError("b")]) from None

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        await entered.wait()
        await handle.cancel("enough")
        task = await handle.wait(timeout=5)
        if ends in ("value", "none"):
            assert (task.state, task.result) == ("succeeded", "saved" if ends == "value" else None)
        else:
            assert (task.state, task.failures) == ("cancelled", 0)
            assert task.reason in (("enough", "my own words") if ends == "Cancel" else ("enough",))
        last = (await engine.history(handle.id))[-1]
        if ends == "raises":
            assert "in the clean-up" in last.details["error"][1]


# row 44
@pytest.mark.parametrize(
    ("ends", "state"), [("none", "cancelled"), ("value", "succeeded"), ("raises", "cancelled"), ("unseen", "succeeded")]
)
async def test_row_44_a_thread_sees_the_cancel_and_is_waited_for(ends: str, state: str) -> None:
    queue, entered, asked = Queue("q"), threading.Event(), threading.Event()

    @queue.handler
    def work(ctx: Context) -> Any:
        entered.set()
        asked.wait(10)
        if ends == "unseen":
            return None
        assert ctx.cancelled
        if ends == "raises":
            raise ValueError
        return "saved" if ends == "value" else None

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        await told(entered)
        await handle.cancel("enough")
        assert (await engine.get(handle.id)).state == "running", "a thread cannot be stopped; it is waited for"
        assert [r.kind for r in (await engine.explain(handle.id)).reasons] == ["cancelling"]
        asked.set()
        task = await handle.wait(timeout=5)
        assert (task.state, task.reason) == (state, "enough" if state == "cancelled" else None)
        assert (await engine.stats())["q"].stragglers == 0


# row 44, row 55
@pytest.mark.parametrize("how", ["cancelled", "stopped", "left alone"])
async def test_row_44_between_the_recorded_start_and_the_handler(how: str, autojump_clock: trio.testing.MockClock) -> None:
    """The disk was slow for the first start, so the gate of the rate limit holds the second, though its start is on record."""
    queue, store, entries = Queue("q", concurrency=3, rate=Rate(1, per=10.0), retry=Retry(crashes=0)), SlowStore(), []
    entered = trio.Event()

    @queue.handler
    async def work(n: int) -> None:
        entries.append((n, trio.current_time()))
        entered.set()

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        store.seconds = 8
        first, second = await engine.submit_many([(work, (n,)) for n in range(2)])
        store.seconds = 0
        await entered.wait()
        await trio.sleep_until(entries[0][1] + 5)
        assert (await engine.get(second.id)).state == "running", "its start is recorded"
        assert len(entries) == 1, "and its handler not entered"
        if how == "cancelled":
            await second.cancel("changed my mind")
            task = await second.wait(timeout=0.1)
            assert (task.state, task.reason) == ("cancelled", "changed my mind")
        elif how == "stopped":
            assert await engine.stop(grace=0) is True
        else:
            await second.wait()
            assert entries[1][1] - entries[0][1] == pytest.approx(10, abs=0.01), "the window counts entries"
    if how == "stopped":
        async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
            await engine.drain()
            task = await engine.get(second.id)
            assert (task.state, task.crashes, task.failures) == ("succeeded", 0, 0)
    assert [n for n, _ in entries] == ([0] if how == "cancelled" else [0, 1])
    assert first.id != second.id


# row 44
async def test_row_44_a_cancel_right_after_the_submit(autojump_clock: trio.testing.MockClock) -> None:
    queue, runs = Queue("q", concurrency=3), []

    @queue.handler
    async def work(n: int) -> None:
        runs.append(n)
        await trio.sleep(1)

    async with Engine(None, [queue], store=SlowStore(), clock=TrioClock()) as engine:
        handles = await engine.submit_many([(work, (n,)) for n in range(3)])
        for handle in handles:
            await handle.cancel("changed my mind")
        assert [(await h.wait(timeout=60)).state for h in handles] == ["cancelled"] * 3


# row 44, row 51
async def test_row_44_a_wish_to_cancel_outlives_a_crash() -> None:
    """A handler that takes its time with a cancel; the process dies meanwhile."""
    queue, store, entered, gone, runs = Queue("q"), MemoryStore(), trio.Event(), trio.Event(), []

    @queue.handler
    async def slow_to_leave(ctx: Context) -> str:
        runs.append(ctx.attempt)
        entered.set()
        with trio.CancelScope(shield=True):
            await gone.wait()
        return "saved"

    async with Engine(None, [queue], store=store) as engine:
        handle = await engine.submit(slow_to_leave)
        await entered.wait()
        await handle.cancel("please")
        await handle.cancel("a second one changes nothing")
        assert (await engine.get(handle.id)).state == "running"
        as_it_died = copy.deepcopy(store)
        gone.set()
        assert await handle.result(timeout=5) == "saved"
    async with Engine(None, [queue], store=as_it_died) as engine:
        await engine.drain(timeout=5)
        task = await engine.get(handle.id)
        assert (task.state, task.reason, runs) == ("cancelled", "please", [1])


# row 46
async def test_row_46_clear_counts_what_waited_and_leaves_what_runs() -> None:
    queue, entered, go = Queue("q", concurrency=1), trio.Event(), trio.Event()
    other = Queue("other")

    @queue.handler
    async def work() -> str:
        entered.set()
        await go.wait()
        return "done"

    @other.handler
    async def elsewhere() -> None: ...

    async with Engine(None, [queue, other]) as engine:
        running = await engine.submit(work)
        await entered.wait()
        await engine.submit_many([(work,), (work.using(delay=100),), (engine.handler("unknown", "q"),)])
        await engine.submit(elsewhere.using(delay=100))
        assert await engine.clear("q", reason="spring cleaning") == 3
        assert await engine.clear("q") == 0
        assert {t.reason for t in await engine.list("q", "cancelled")} == {"spring cleaning"}
        assert await engine.count("other", "scheduled") == 1
        go.set()
        assert await running.result(timeout=5) == "done"
        for wrong in ("nowhere", "", "Q"):
            with pytest.raises(QueueNotFound):
                await engine.clear(wrong)


# row 47
async def test_row_47_stats_by_queue_state_and_handler_with_ages_and_durations(autojump_clock: trio.testing.MockClock) -> None:
    queue, quiet = Queue("q", concurrency=1, retry=Retry(attempts=1)), Queue("quiet")

    @queue.handler
    async def work(seconds: float) -> None:
        await trio.sleep(seconds)
        if seconds > 50:
            raise ValueError

    @queue.handler
    async def never() -> None: ...

    async with Engine(None, [queue, quiet], clock=TrioClock(), grace=0) as engine:
        for seconds in (*[1.0] * 98, 20.0, 60.0):
            await (await engine.submit(work, seconds)).wait()
        await engine.submit(work, 1000.0)
        await engine.submit_many([(never,), (never.using(delay=500),)])
        await trio.sleep(30)
        stats = (await engine.stats())["q"]
        assert dict(stats.counts) == {
            **dict.fromkeys(State, 0), "running": 1, "pending": 1, "scheduled": 1, "succeeded": 99, "failed": 1,
        }  # fmt: skip
        assert dict(stats.handlers) == {"work": 1, "never": 2}
        assert stats.oldest_pending == pytest.approx(30, abs=0.01)
        assert stats.mean == pytest.approx((98 + 20 + 60) / 100, rel=0.01)
        assert stats.p50 == pytest.approx(1.0, rel=0.05)
        assert stats.p99 == pytest.approx(20.0, rel=0.05)
        assert (stats.declared, stats.paused, stats.parked, stats.stragglers, stats.broken) == (True, False, 0, 0, False)
        await engine.pause("q")
        assert (await engine.stats())["q"].paused
        empty = (await engine.stats())["quiet"]
        assert (empty.mean, empty.p50, empty.oldest_pending, sum(empty.counts.values())) == (None, None, None, 0)
