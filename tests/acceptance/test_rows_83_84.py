"""Rows 83 and 84: a reason for every task that does not run, each task's whole life."""

from __future__ import annotations

import copy

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Context, Engine, Fatal, Queue, Rate, Retry, RetryLater, Snooze
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock

# --- row 83 -----------------------------------------------------------------------------------------------------------


async def kinds(engine: Engine, id: str) -> set[str]:
    explanation = await engine.explain(id)
    assert explanation.id == id
    assert all(reason.text for reason in explanation.reasons)
    assert str(explanation)
    return {reason.kind for reason in explanation.reasons}


# row 83
async def test_row_83_every_reason_not_to_run_is_told(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=1, retry=Retry(attempts=2, backoff=Constant(600), jitter=0))
    limited, second = Queue("limited", concurrency=9, rate=Rate(1, per=100.0)), Queue("second")

    @queue.handler
    async def work(ctx: Context, how: str = "") -> None:
        if how == "fail":
            raise ValueError
        if how == "snooze":
            raise Snooze(600)
        await trio.sleep(50)

    @limited.handler
    async def slow() -> None: ...

    @second.handler
    async def other() -> None:
        await trio.sleep(500)

    async with Engine(None, [queue, limited, second], clock=TrioClock(), max_concurrency=3, grace=0) as engine:
        retrying, snoozed = await engine.submit(work, "fail"), await engine.submit(work, "snooze")
        await trio.sleep(1)
        running, waits = await engine.submit(work), await engine.submit(work)
        later = await engine.submit(work.using(delay=3600))
        await engine.submit(slow)
        no_token = await engine.submit(slow)
        unknown = await engine.submit(engine.handler("elsewhere", "q"))
        await trio.sleep(1)
        assert await kinds(engine, running.id) == {"running"}
        assert await kinds(engine, waits.id) == {"no free slot"}
        assert "not due" in await kinds(engine, later.id)
        assert "backoff" in await kinds(engine, retrying.id)
        assert "not due" in await kinds(engine, snoozed.id)
        assert await kinds(engine, no_token.id) == {"rate limited until"}
        assert "no handler here" in await kinds(engine, unknown.id)
        (token,) = (await engine.explain(no_token.id)).reasons
        assert token.until_at is not None
        task = await engine.get(later.id)
        (due,) = [r for r in (await engine.explain(later.id)).reasons if r.kind == "not due"]
        assert due.until_at == round(task.due_at.timestamp() * 1e6)
        await engine.pause("q", reason="lunch", by="ann")
        assert "paused" in await kinds(engine, waits.id)
        assert "ann" in str(await engine.explain(waits.id))
        assert "lunch" in str(await engine.explain(waits.id))
        assert await kinds(engine, running.id) == {"running"}
        await running.cancel("stop it")
        ended = await running.wait()
        assert ended.state == "cancelled"
        assert await kinds(engine, running.id) == {"ended"}
        await engine.resume("q")
        await trio.sleep(1)
        assert await kinds(engine, waits.id) == {"running"}


# row 83
async def test_row_83_slots_of_the_engine_order_and_cancelling(autojump_clock: trio.testing.MockClock) -> None:
    one, two = Queue("one", concurrency=5), Queue("two", concurrency=5)
    leave = trio.Event()

    @one.handler
    async def work() -> None:
        with trio.CancelScope(shield=True):
            await leave.wait()

    @two.handler
    async def other() -> None: ...

    async with Engine(None, [one, two], clock=TrioClock(), max_concurrency=1, grace=0) as engine:
        running = await engine.submit(work)
        waits, behind = await engine.submit(other), await engine.submit(other)
        await trio.sleep(1)
        assert await kinds(engine, waits.id) == {"no engine slot"}
        assert await kinds(engine, behind.id) == {"no engine slot"}
        await running.cancel("please")
        assert await kinds(engine, running.id) == {"cancelling"}
        leave.set()


# row 83, row 54
async def test_row_83_a_suspect_that_waits_for_another(autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", concurrency=5, retry=Retry(crashes=1)), MemoryStore()

    @queue.handler
    async def work() -> None:
        await trio.sleep_forever()

    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=0) as engine:
        handles = await engine.submit_many([(work,), (work,)])
        await trio.sleep(1)
        store = copy.deepcopy(store)
    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=0) as engine:
        await trio.sleep(1)
        assert await kinds(engine, handles[0].id) == {"running"}
        assert await kinds(engine, handles[1].id) == {"suspect"}, "what may have killed the process runs one at a time"
        fresh = await engine.submit(work)  # the queue has slots, and takes another step
        await trio.sleep(1)
        assert await kinds(engine, fresh.id) == {"running"}, "an ordinary task is not held up"
        assert await kinds(engine, handles[1].id) == {"suspect"}


# row 83
async def test_row_83_every_task_that_does_not_run_has_a_reason(autojump_clock: trio.testing.MockClock) -> None:
    """Many tasks in many conditions, looked at again and again while time goes by."""
    queue = Queue("q", concurrency=3, rate=Rate(2, per=1.0, burst=3), retry=Retry(attempts=3, backoff=Constant(5)))

    @queue.handler
    async def work(n: int) -> None:
        await trio.sleep(n % 4)
        if n % 5 == 0:
            raise ValueError
        if n % 7 == 0:
            raise RetryLater("later", delay=3)
        if n % 11 == 0:
            raise Fatal("never")

    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        await engine.submit_many([(work.using(delay=n % 13, priority=n % 3), (n,)) for n in range(60)])
        for _ in range(40):
            await trio.sleep(1.3)
            for task in await engine.list(limit=1000):
                found = await kinds(engine, task.id)
                assert found
                assert ("ended" in found) == task.ended
                assert bool(found & {"running", "cancelling"}) == (task.state == "running"), (task, found)


# --- row 84 -----------------------------------------------------------------------------------------------------------


# row 84
async def test_row_84_the_whole_life_of_a_task_with_each_attempts_error_and_times(autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", timeout=100, retry=Retry(attempts=4, backoff=Constant(10), jitter=0, crashes=5)), MemoryStore()

    @queue.handler
    async def work(ctx: Context) -> str:
        await trio.sleep(2)
        match ctx.attempt:
            case 1:
                raise KeyError("first")
            case 2:
                raise Snooze(30)
            case 3:
                await trio.sleep_forever()
            case 4 | 5:  # 4 dies with the process, 5 is stopped
                await trio.sleep(50)
            case 6:
                raise Fatal("sixth")
        return "well"

    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=0) as engine:
        handle = await engine.submit(work.using(delay=5, tags=("t",)))
        await trio.sleep(5 + 2 + 10 + 2 + 30 + 100 + 10 + 3)
        store = copy.deepcopy(store)
    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=0) as engine:
        await trio.sleep(3)
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        await engine.drain()
        await engine.retry(handle.id, reason="mended", by="ann")
        await engine.drain()
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        history = await engine.history(handle.id)
    assert [(e.kind, e.attempt) for e in history] == [
        ("TaskSubmitted", None),
        ("AttemptStarted", 1), ("AttemptFailed", 1),
        ("AttemptStarted", 2), ("AttemptSnoozed", 2),
        ("AttemptStarted", 3), ("AttemptFailed", 3),
        ("AttemptStarted", 4), ("AttemptLost", 4),
        ("AttemptStarted", 5), ("AttemptReleased", 5),
        ("AttemptStarted", 6), ("TaskFailed", 6),
        ("TaskRetried", None),
        ("AttemptStarted", 7), ("TaskSucceeded", 7),
    ]  # fmt: skip
    assert [e.seq for e in history] == sorted(e.seq for e in history)
    assert [e.at for e in history] == sorted(e.at for e in history)
    assert {e.task for e in history} == {handle.id}
    assert {e.queue for e in history} == {"q"}
    first, second, sixth = [e for e in history if e.kind.endswith("Failed")]
    assert (first.details["error"][0], second.details["cause"], sixth.details["reason"]) == ("KeyError", "timeout", "fatal")
    assert [e.details["elapsed_us"] for e in (first, second, sixth)] == pytest.approx([2e6, 100e6, 2e6], abs=1000)
    started = [e for e in history if e.kind == "AttemptStarted"]
    assert (started[0].at - history[0].at).total_seconds() == pytest.approx(5, abs=0.001)
    assert (started[1].at - first.at).total_seconds() == pytest.approx(10, abs=0.001)
    retried = next(e for e in history if e.kind == "TaskRetried")
    assert (retried.details["by"], retried.details["reason"]) == ("ann", "mended")


# row 84
async def test_row_84_who_acted_and_why_is_part_of_it(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        await trio.sleep_forever()

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        running, waiting = await engine.submit_many([(work,), (work,)])
        await engine.cancel(waiting.id, "not this one", by="bob")
        await trio.sleep(1)
        await engine.cancel(running.id, "nor this", by="ann")
        await running.wait()
        life = [(e.kind, e.details.get("by"), e.details.get("reason")) for e in await engine.history(running.id)]
        assert life[2:] == [("CancelRequested", "ann", "nor this"), ("TaskCancelled", "ann", "nor this")]
        life = [(e.kind, e.details.get("by"), e.details.get("reason")) for e in await engine.history(waiting.id)]
        assert life[1:] == [("TaskCancelled", "bob", "not this one")]
