"""Row 32: time-outs.  Async handlers are cancelled; threads cannot be, and become stragglers that hold their slot and are fenced."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Context, Engine, JournalLocked, Queue, Rate, Retry, State, Task
from tests.acceptance.virtual import TrioClock, told, until

NO_PAUSE = Constant(0.0)


def kinds(events: list) -> list[str]:  # type: ignore[type-arg]
    return [event.kind for event in events]


# row 32
async def test_row_32_an_async_handler_is_cancelled_at_its_timeout(autojump_clock: trio.testing.MockClock) -> None:
    queue, cleaned = Queue("q", timeout=30), []

    @queue.handler
    async def hang() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(trio.current_time())

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        task = await (await engine.submit(hang)).wait()
    assert task.state == "failed"
    assert task.error is not None
    assert task.error.type.endswith("AttemptTimeout")
    assert task.started_at is not None
    assert task.finished_at is not None
    assert (task.finished_at - task.started_at).total_seconds() == pytest.approx(30, abs=0.001)
    assert len(cleaned) == 1


# row 32
async def test_row_32_a_timeout_is_retried_whatever_on_says(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", timeout=1, retry=Retry(attempts=3, backoff=NO_PAUSE, on=(ConnectionError,)))

    @queue.handler
    async def slow_twice(ctx: Context) -> int:
        if ctx.attempt < 3:
            await trio.sleep_forever()
        return ctx.attempt

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handle = await engine.submit(slow_twice)
        assert await handle.result() == 3
        failed = [e for e in await engine.history(handle.id) if e.kind == "AttemptFailed"]
        assert [e.details["cause"] for e in failed] == ["timeout", "timeout"]


# row 32
async def test_row_32_using_wins_over_handler_wins_over_queue(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", timeout=1, concurrency=4)

    @queue.handler
    async def of_queue(seconds: float) -> None:
        await trio.sleep(seconds)

    @queue.handler(timeout=5)
    async def of_handler(seconds: float) -> None:
        await trio.sleep(seconds)

    @queue.handler(timeout=None)
    async def unlimited(seconds: float) -> None:
        await trio.sleep(seconds)

    async with Engine(None, [queue], clock=TrioClock()) as engine:

        async def ends(target: object, seconds: float) -> str:
            return (await (await engine.submit(target, seconds)).wait()).state

        assert await ends(of_queue, 0.9) == "succeeded"
        assert await ends(of_queue, 1.1) == "failed"
        assert await ends(of_handler, 4.9) == "succeeded"
        assert await ends(of_handler, 5.1) == "failed"
        assert await ends(of_handler.using(timeout=10), 9.9) == "succeeded"
        assert await ends(of_handler.using(timeout=2), 2.1) == "failed"
        assert await ends(of_handler.using(timeout=None), 1000) == "succeeded"
        assert await ends(unlimited, 1000) == "succeeded"


# row 32
async def test_row_32_cleanup_that_raises_is_still_a_timeout_with_the_error_attached(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", timeout=1, retry=Retry(attempts=2, backoff=NO_PAUSE, on=(ConnectionError,)))

    @queue.handler
    async def messy(ctx: Context) -> str:
        try:
            if ctx.attempt == 1:
                await trio.sleep_forever()
        finally:
            if ctx.attempt == 1:
                raise ZeroDivisionError("in the clean-up")
        return "done"

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handle = await engine.submit(messy)
        assert await handle.result() == "done", "a ZeroDivisionError alone would not have been retried"
        (failed,) = [e for e in await engine.history(handle.id) if e.kind == "AttemptFailed"]
        assert failed.details["cause"] == "timeout"
        assert "in the clean-up" in failed.details["error"][1]


# row 32
async def test_row_32_the_deadline_is_shown_and_waiting_for_a_token_does_not_count(autojump_clock: trio.testing.MockClock) -> None:
    queue, seen = Queue("q", timeout=2, concurrency=5, rate=Rate(1, per=10.0)), []

    @queue.handler
    async def look(ctx: Context) -> None:
        assert ctx.deadline is not None
        seen.append((ctx.deadline - ctx.now()).total_seconds())
        await trio.sleep(1.5)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handles = await engine.submit_many([(look,), (look,), (look,)])
        assert [(await h.wait()).state for h in handles] == ["succeeded"] * 3
    assert seen == pytest.approx([2, 2, 2], abs=0.01)


class Stuck:
    """A thread handler that ignores its time-out (half a minute) until it is let go."""

    def __init__(self, **policy: object) -> None:
        self.queue = Queue("q", timeout=30, retry=Retry(attempts=3, backoff=NO_PAUSE, jitter=0), **policy)  # type: ignore[arg-type]
        self.entered, self.go, self.left = threading.Event(), threading.Event(), threading.Event()
        self.runs: list[int] = []
        self.saw_cancelled: list[bool] = []
        self.contexts: list[Context] = []

        @self.queue.handler
        def deaf(ctx: Context) -> str:
            self.runs.append(ctx.attempt)
            if ctx.attempt > 1:
                return f"run {ctx.attempt}"
            self.contexts.append(ctx)
            self.entered.set()
            self.go.wait(20)
            self.saw_cancelled.append(ctx.cancelled)
            self.left.set()
            return "too late"

        @self.queue.handler
        async def other() -> str:
            return "ran"

        self.deaf, self.other = deaf, other


async def timed_out(engine: Engine, id: str, clock: trio.testing.MockClock) -> Task:
    """The task once the time-out of its first attempt has struck."""
    clock.jump(30)

    async def failed() -> bool:
        return (await engine.get(id)).failures == 1

    await until(failed)
    return await engine.get(id)


# row 32, row 80
async def test_row_32_a_straggler_holds_its_slot_and_its_late_outcome_is_fenced(leaping_clock: trio.testing.MockClock) -> None:
    stuck = Stuck(concurrency=1)
    try:
        async with Engine(None, [stuck.queue]) as engine:
            handle = await engine.submit(stuck.deaf)
            waits = await engine.submit(stuck.other)
            await told(stuck.entered)
            await timed_out(engine, handle.id, leaping_clock)
            # The queue's only slot is the straggler's, though no task runs.
            assert (await engine.stats())["q"].stragglers == 1
            with pytest.raises(trio.TooSlowError):
                await waits.wait(timeout=0.1)
            assert stuck.runs == [1], "the next attempt must not run beside the thread of the first"
            reasons = {r.kind for r in (await engine.explain(handle.id)).reasons}
            assert "straggler" in reasons
            assert "no free slot" in {r.kind for r in (await engine.explain(waits.id)).reasons}
            stuck.go.set()
            assert await handle.result(timeout=5) == "run 2", "the late result must not be the task's"
            assert await waits.result(timeout=5) == "ran"
            assert stuck.saw_cancelled == [True]
            history = await engine.history(handle.id)
            rejected = [e for e in history if e.kind == "TransitionRejected"]
            assert [(e.attempt, e.details["kind"]) for e in rejected] == [(1, "success")]
            task = await engine.get(handle.id)
            assert (task.attempt, task.failures) == (2, 1)
    finally:
        stuck.go.set()


# row 32
async def test_row_32_other_slots_go_on_beside_a_straggler(leaping_clock: trio.testing.MockClock) -> None:
    stuck = Stuck(concurrency=2)
    try:
        async with Engine(None, [stuck.queue]) as engine:
            handle = await engine.submit(stuck.deaf)
            await told(stuck.entered)
            await timed_out(engine, handle.id, leaping_clock)
            assert await (await engine.submit(stuck.other)).result(timeout=5) == "ran"
            assert stuck.runs == [1]
            stuck.go.set()
            assert await handle.result(timeout=5) == "run 2"
    finally:
        stuck.go.set()


# row 32
async def test_row_32_a_straggler_counts_against_the_engines_slots(leaping_clock: trio.testing.MockClock) -> None:
    stuck, second = Stuck(concurrency=1), Queue("second")

    @second.handler
    async def elsewhere() -> str:
        return "ran"

    try:
        async with Engine(None, [stuck.queue, second], max_concurrency=1) as engine:
            handle = await engine.submit(stuck.deaf)
            await told(stuck.entered)
            await timed_out(engine, handle.id, leaping_clock)
            waits = await engine.submit(elsewhere)
            with pytest.raises(trio.TooSlowError):
                await waits.wait(timeout=0.1)
            stuck.go.set()
            assert await waits.result(timeout=5) == "ran"
    finally:
        stuck.go.set()


# row 32, row 56
async def test_row_32_stop_with_a_straggler_is_false_and_keeps_the_lock_until_it_ends(
    tmp_path: Path, leaping_clock: trio.testing.MockClock
) -> None:
    stuck, again = Stuck(concurrency=1), Stuck(concurrency=1)
    again.go.set()
    try:
        async with Engine(tmp_path / "j", [stuck.queue]) as engine:
            handle = await engine.submit(stuck.deaf)
            await told(stuck.entered)
            await timed_out(engine, handle.id, leaping_clock)
            assert await engine.stop(grace=0.05) is False
        with pytest.raises(JournalLocked):
            await Engine(tmp_path / "j", [again.queue]).__aenter__()
        stuck.go.set()
        await told(stuck.left)

        async def opened() -> bool:
            try:
                async with Engine(tmp_path / "j", [again.queue]) as engine:
                    await engine.drain(5)
                    assert (await engine.get(handle.id)).result == "run 2"
            except JournalLocked:
                return False
            return True

        await until(opened)
    finally:
        stuck.go.set()


# row 32, row 55
async def test_row_32_a_thread_still_running_at_stop_is_given_back_uncharged(tmp_path: Path) -> None:
    queue, entered, go = Queue("q"), threading.Event(), threading.Event()

    @queue.handler
    def busy() -> str:
        entered.set()
        go.wait(20)
        return "late"

    try:
        async with Engine(tmp_path / "j", [queue]) as engine:
            handle = await engine.submit(busy)
            await told(entered)
            assert await engine.stop(grace=0.05) is False
        go.set()

        async def finished() -> bool:
            try:
                async with Engine(tmp_path / "j", [queue]) as engine:
                    await engine.drain(5)
                    task = await engine.get(handle.id)
            except JournalLocked:
                return False
            assert (task.state, task.attempt, task.failures, task.crashes) == ("succeeded", 2, 0, 0)
            return True

        await until(finished)
    finally:
        go.set()


# row 32, row 55
@pytest.mark.parametrize(("ending", "state"), [("value", State.SUCCEEDED), ("nothing", State.PENDING), ("error", State.PENDING)])
async def test_row_32_a_thread_that_sees_the_stop_may_end_in_order(tmp_path: Path, ending: str, state: State) -> None:
    """And the journal is free at once, for no thread is left behind (FOUND 215)."""
    queue, entered = Queue("q"), threading.Event()

    @queue.handler
    def watchful(ctx: Context) -> str | None:
        entered.set()
        while not ctx.cancelled:
            time.sleep(0.001)
        time.sleep(0.05)
        if ending == "error":
            raise ValueError("stopped half-way")
        return "done" if ending == "value" else None

    async with Engine(tmp_path / "j", [queue]) as engine:
        handle = await engine.submit(watchful)
        await told(entered)
        assert await engine.stop(grace=0.01) is False
    async with Engine(tmp_path / "j", [Queue("q")]) as engine:
        task = await engine.get(handle.id)
        assert (task.state, task.failures, task.crashes) == (state, 0, 0)
        assert task.result == ("done" if ending == "value" else None)
