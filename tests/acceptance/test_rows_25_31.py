"""Rows 25 to 31: attempts, pauses between them, steering by the handler, the dead letter."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, getcontext
from itertools import pairwise

import pytest
import trio

from journeyman.engine import (
    Constant,
    Context,
    Engine,
    Exponential,
    Fatal,
    HistoryEvent,
    Linear,
    NotRetryable,
    Queue,
    QueueNotFound,
    Retry,
    RetryLater,
    Snooze,
    State,
    TaskFailed,
)
from journeyman.journal.memory_store import MemoryStore
from journeyman.kernel.backoff import delay_us
from tests.acceptance.virtual import TrioClock

Backoff = Exponential | Constant | Linear | Callable[[int], float]


async def pauses(retry: Retry, error: Callable[[int], BaseException] = lambda n: ValueError(n)) -> tuple[list[float], list[HistoryEvent]]:
    """Seconds between the runs of a task that fails every time, and its life."""
    queue, starts = Queue("q", retry=retry), list[float]()

    @queue.handler
    async def fail(ctx: Context) -> None:
        starts.append(trio.current_time())
        raise error(ctx.attempt)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handle = await engine.submit(fail)
        task = await handle.wait()
        assert task.state is State.FAILED
        return [b - a for a, b in pairwise(starts)], await engine.history(handle.id)


# row 25
@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_row_25_attempts_are_failed_runs_in_all(attempts: int) -> None:
    queue, runs = Queue("q", retry=Retry(attempts=attempts, backoff=Constant(0))), list[int]()

    @queue.handler
    async def fail(ctx: Context) -> None:
        runs.append(ctx.attempt)
        assert ctx.max_attempts == attempts
        raise ValueError("no")

    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(fail)).wait(timeout=5)
    assert runs == list(range(1, attempts + 1))
    assert (task.state, task.attempt, task.failures, task.max_attempts) == (State.FAILED, attempts, attempts, attempts)


# row 25
async def test_row_25_a_task_may_have_its_own_number() -> None:
    queue, store = Queue("q", retry=Retry(attempts=2, backoff=Constant(0))), MemoryStore()

    @queue.handler
    async def fail() -> None:
        raise ValueError("no")

    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("q")
        handles = [await engine.submit(fail.using(attempts=n)) for n in (1, 4)] + [await engine.submit(fail)]
    async with Engine("x", [queue], store=store) as engine:
        await engine.resume("q")
        await engine.drain(timeout=5)
        assert [(await engine.get(handle.id)).attempt for handle in handles] == [1, 4, 2]


# row 25
async def test_row_25_the_number_counts_every_run_the_budget_only_failures() -> None:
    queue, runs = Queue("q", retry=Retry(attempts=2, backoff=Constant(0))), list[int]()

    @queue.handler
    async def work(ctx: Context) -> str:
        runs.append(ctx.attempt)
        if ctx.attempt in (1, 3):
            raise Snooze(0)
        if ctx.attempt == 2:
            raise ValueError("no")
        return "done"

    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(work)).wait(timeout=5)
    assert runs == [1, 2, 3, 4]
    assert (task.state, task.attempt, task.failures) == (State.SUCCEEDED, 4, 1)


# row 26
async def test_row_26_exponential_capped(autojump_clock: trio.testing.MockClock) -> None:
    found, _ = await pauses(Retry(attempts=8, backoff=Exponential(0.5, factor=3, cap=60), jitter=0))
    assert found == pytest.approx([0.5, 1.5, 4.5, 13.5, 40.5, 60, 60], abs=0.001)


# row 26
async def test_row_26_jitter_spreads_by_its_share_and_is_repeatable(autojump_clock: trio.testing.MockClock) -> None:
    found, life = await pauses(Retry(attempts=60, backoff=Constant(100)))  # the default jitter, a tenth
    assert all(90 <= pause <= 110.001 for pause in found)
    assert max(found) - min(found) > 10
    for event in life:  # decided once, and kept in the event
        if event.kind == "AttemptFailed":
            assert 90e6 <= event.details["due_at"] - event.at.timestamp() * 1e6 <= 110e6 + 1
    wide, _ = await pauses(Retry(attempts=60, backoff=Constant(100), jitter=1.0))
    assert min(wide) < 50
    assert max(wide) > 150


# row 26
@pytest.mark.parametrize("n", [1, 2, 53, 1024, 1025, 10**5, 10**6])
@pytest.mark.parametrize("factor", ["1.00001", "1.5", "2"])
def test_row_26_exact_at_every_n(n: int, factor: str) -> None:
    getcontext().prec = 80
    cap = Decimal(3_600_000_000)
    exact = min(cap, (Decimal(1_000_000) * Decimal(factor) ** (n - 1)).to_integral_value(rounding="ROUND_CEILING"))
    assert delay_us(Retry(backoff=Exponential(1.0, factor=float(factor))).backoff.shape(), n) == (int(exact), None)  # type: ignore[union-attr]


# row 27
@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Constant(7), [7, 7, 7, 7]),
        (Constant(0), [0, 0, 0, 0]),
        (Linear(2), [2, 4, 6, 8]),
        (Linear(2, cap=5), [2, 4, 5, 5]),
        (lambda n: n * n / 4, [0.25, 1, 2.25, 4]),
    ],
    ids=["constant", "none", "linear", "capped", "callable"],
)
async def test_row_27_other_pauses(backoff: Backoff, expected: list[float], autojump_clock: trio.testing.MockClock) -> None:
    found, _ = await pauses(Retry(attempts=5, backoff=backoff, jitter=0))
    assert found == pytest.approx(expected, abs=0.001)


# row 27
@pytest.mark.parametrize("wrong", [lambda n: math.nan, lambda n: math.inf, lambda n: -1.0, lambda n: 1 / 0, lambda n: "soon"])
async def test_row_27_a_callable_that_fails_costs_the_cap_and_a_warning(
    wrong: Callable[[int], float], autojump_clock: trio.testing.MockClock
) -> None:
    found, life = await pauses(Retry(attempts=2, backoff=wrong, jitter=0))
    assert found == pytest.approx([3600], abs=0.001)
    [failed] = [event for event in life if event.kind == "AttemptFailed"]
    assert "its cap was used" in failed.details["warning"]


# row 28
async def test_row_28_the_handlers_own_delay_wins_even_over_the_cap(autojump_clock: trio.testing.MockClock) -> None:
    retry = Retry(attempts=4, backoff=Exponential(1, cap=5), on=(KeyError,))  # neither jitter nor `on` is asked
    delays = {1: 7.0, 2: 7200.0, 3: 0.0}
    found, life = await pauses(retry, lambda n: RetryLater(ConnectionError("busy"), delay=delays.get(n, 0)))
    assert found == pytest.approx([7, 7200, 0], abs=0.001)
    assert [event.details["error"][0] for event in life if event.kind == "AttemptFailed"] == ["ConnectionError"] * 3
    assert life[-1].details["error"][1] == "busy"


# row 28
async def test_row_28_a_text_is_cause_enough(autojump_clock: trio.testing.MockClock) -> None:
    found, life = await pauses(Retry(attempts=2), lambda n: RetryLater("quota", delay=3))
    assert found == pytest.approx([3], abs=0.001)
    assert life[-1].details["error"][1] == "quota"


# row 29
async def test_row_29_fatal_fails_at_once() -> None:
    queue = Queue("q", retry=Retry(attempts=9, backoff=Constant(0)))

    @queue.handler
    async def refuse() -> None:
        raise Fatal("no such address")

    async with Engine(None, [queue]) as engine:
        with pytest.raises(TaskFailed) as caught:
            await (await engine.submit(refuse)).result(timeout=5)
    assert (caught.value.task.attempt, caught.value.task.reason) == (1, "fatal")
    assert caught.value.failure is not None
    assert caught.value.failure.message == "no such address"


# row 29
async def test_row_29_on_says_what_is_retried() -> None:
    queue = Queue("q", retry=Retry(attempts=3, backoff=Constant(0), on=(ConnectionError, KeyError)))
    errors: dict[str, BaseException] = {
        "itself": ConnectionError(),
        "child": ConnectionResetError(),
        "other": KeyError(),
        "not": ValueError(),
        "group": ExceptionGroup("g", [ConnectionError(), ExceptionGroup("h", [KeyError()])]),
        "mixed": ExceptionGroup("g", [ConnectionError(), ValueError()]),
        "fatal inside": ExceptionGroup("g", [Fatal("x")]),
    }

    @queue.handler
    async def fail(which: str) -> None:
        raise errors[which]

    async with Engine(None, [queue]) as engine:
        tasks = {which: await (await engine.submit(fail, which)).wait(timeout=5) for which in errors}
    runs = {which: (task.attempt, task.reason) for which, task in tasks.items()}
    retried, not_retried = (3, "attempts"), (1, "not retryable")
    assert runs == {
        "itself": retried, "child": retried, "other": retried, "not": not_retried, "group": retried, "mixed": not_retried,
        "fatal inside": (1, "fatal"),
    }  # fmt: skip


def dead_letters() -> tuple[Queue, dict[str, bool]]:
    """A queue whose one handler fails while `broken["it"]`."""
    queue, broken = Queue("q", retry=Retry(attempts=2, backoff=Constant(0))), {"it": True}

    @queue.handler
    async def work(n: int) -> int:
        if broken["it"]:
            raise LookupError(f"{n} is missing " + "x" * 100_000)
        return n

    return queue, broken


# row 30
async def test_row_30_the_dead_letter_keeps_error_traceback_and_attempts() -> None:
    queue, _ = dead_letters()
    store = MemoryStore()
    async with Engine("x", [queue], store=store) as engine:
        handle = await engine.submit("work", 5)
        await handle.wait(timeout=5)
    async with Engine("x", [queue], store=store) as engine:
        task = await engine.get(handle.id)
    assert (task.state, task.attempt, task.failures, task.reason, task.payload) == (State.FAILED, 2, 2, "attempts", ([5], {}))
    assert task.error is not None
    assert task.error.type == "LookupError"
    assert task.error.message.startswith("5 is missing")
    assert len(task.error.message) <= 4096
    assert len(task.error.traceback) <= 16384
    assert task.error.at == task.finished_at


# row 30
async def test_row_30_the_traceback_shows_the_line() -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        raise LookupError("this very line")

    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(work)).wait(timeout=5)
    assert task.error is not None
    assert 'raise LookupError("this very line")' in task.error.traceback
    assert __file__ in task.error.traceback


# row 30
async def test_row_30_retry_gives_a_fresh_budget() -> None:
    queue, broken = dead_letters()
    async with Engine(None, [queue]) as engine:
        handle = await engine.submit("work", 5)
        await handle.wait(timeout=5)
        await engine.retry(handle.id, by="ops", reason="try again")
        task = await handle.wait(timeout=5)
        assert (task.state, task.attempt, task.failures) == (State.FAILED, 4, 2), "two runs more, then dead again"
        broken["it"] = False
        await engine.retry(handle.id)
        assert await handle.result(timeout=5) == 5
        retried = [event for event in await engine.history(handle.id) if event.kind == "TaskRetried"]
        assert (retried[0].details["by"], retried[0].details["reason"]) == ("ops", "try again")
        with pytest.raises(NotRetryable):
            await engine.retry(handle.id)


# row 30
async def test_row_30_retry_all_from_disk() -> None:
    queue, broken = dead_letters()
    store = MemoryStore()
    async with Engine("x", [queue], store=store) as engine:
        handles = [await engine.submit("work", n) for n in range(5)]
        for handle in handles:
            await handle.wait(timeout=5)
        await engine.prune(older_than=9e6)  # prunes nothing, but takes a checkpoint: they live in the tables from here on
    broken["it"] = False
    async with Engine("x", [queue], store=store) as engine:
        done = await engine.submit("work", 99)
        await done.wait(timeout=5)
        assert await engine.retry_all("q") == 5
        await engine.drain(timeout=5)
        assert [(await engine.get(handle.id)).result for handle in handles] == list(range(5))
        assert await engine.retry_all("q") == 0
        with pytest.raises(NotRetryable):
            await engine.retry_all("q", state="succeeded")
        with pytest.raises(QueueNotFound):
            await engine.retry_all("nowhere")


# row 31
@pytest.mark.parametrize("threaded", [False, True])
async def test_row_31_the_attempt_number_is_1_based(threaded: bool) -> None:
    queue, seen = Queue("q", retry=Retry(attempts=3, backoff=Constant(0))), list[int]()

    def look(ctx: Context) -> int:
        seen.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError("no")
        return ctx.attempt

    async def look_async(ctx: Context) -> int:
        return look(ctx)

    handler = queue.handler(look if threaded else look_async)
    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(handler)
        assert await handle.result(timeout=5) == 3
        starts = [event.attempt for event in await engine.history(handle.id) if event.kind == "AttemptStarted"]
    assert seen == starts == [1, 2, 3]
