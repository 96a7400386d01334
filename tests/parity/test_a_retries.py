"""Navidrome's plugin TaskQueue: how a task ends, and what comes after a failure."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from journeyman import Constant, Context, Exponential, Fatal, Queue, Retry, RetryLater
from journeyman.sim import World
from tests.parity.virtual import simulated

# A's retries, as they are said here: maxRetries=n, backoffMs=b are Retry(attempts=n + 1, backoff=Exponential(b / 1000), jitter=0).
HOUR = 3600


@simulated
async def test_a_success(world: World) -> None:
    """A, success: the task is completed, and its message is the string that the handler returned.

    Better: the result may be any value; the message is the last progress.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> dict[str, int]:
        return {"tracks": 12}

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        task = await handle.wait()
        assert (task.state, task.result) == ("succeeded", {"tracks": 12})


@pytest.mark.parametrize("retries", [0, 1, 4])
@simulated
async def test_a_how_often_it_runs(world: World, retries: int) -> None:
    """A, failure: every error is retried, maxRetries + 1 runs in all; then the task has failed.

    Same: Retry(attempts=maxRetries + 1); the last error's type, text and traceback are kept.
    """
    queue, runs = Queue("q", retry=Retry(attempts=retries + 1, backoff=Constant(1))), []

    @queue.handler
    async def fail(ctx: Context) -> None:
        runs.append(ctx.attempt)
        raise ConnectionError(f"no answer in run {ctx.attempt}")

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(fail)).wait()
        assert (task.state, task.failures, runs) == ("failed", retries + 1, list(range(1, retries + 2)))
        assert task.error is not None
        assert (task.error.type.rpartition(".")[2], task.error.message) == ("ConnectionError", f"no answer in run {retries + 1}")
        assert "in fail" in task.error.traceback


@simulated
async def test_a_what_it_said_wins_over_the_text_of_the_error(world: World) -> None:
    """A, failure: the message of a failed task is the one the handler gave, else the text of the error.

    Better: both are kept, each in its place.
    """
    queue = Queue("q")

    @queue.handler
    async def fail(ctx: Context) -> None:
        await ctx.progress(0.9, "nearly there")
        raise ValueError("the disk is full")

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(fail)).wait()
        assert task.error is not None
        assert (task.message, task.error.message) == ("nearly there", "the disk is full")


@simulated
async def test_a_the_error_of_a_run_that_is_not_the_last(world: World) -> None:
    """A, failure: while a task waits for its next run, nobody can see why the last one failed.

    Mended: the error stands while it retries, and each run's stays in its history.
    """
    queue = Queue("q", retry=Retry(attempts=3, backoff=Constant(60)))

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt < 3:
            raise ConnectionError(f"in run {ctx.attempt}")

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=30)
        task = await engine.get(handle.id)
        assert task.error is not None
        assert (task.state, task.error.message) == ("retrying", "in run 1")
        await handle.wait()
        life = (await world.history(handle)).assert_ran(3).then_succeeded()
        assert [run.error for run in life.attempts] == ["ConnectionError: in run 1", "ConnectionError: in run 2", None]


@pytest.mark.parametrize("how", ["Fatal", "on"])
@simulated
async def test_a_do_not_retry(world: World, how: str) -> None:
    """A, failure: a handler cannot say that another run is of no use; plugins wrote their own type for it.

    Mended: raise Fatal, or say which errors are retried: Retry(on=...).
    """
    queue, runs = Queue("q", retry=Retry(attempts=10, on=(ConnectionError,))), []

    @queue.handler
    async def work() -> None:
        runs.append(world.time())
        if how == "Fatal":
            raise Fatal("no such user")
        raise PermissionError("no such user")

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(work)).wait()
        assert (task.state, len(runs)) == ("failed", 1)
        assert task.error is not None
        assert task.error.message == "no such user"


@simulated
async def test_a_the_pauses(world: World) -> None:
    """A, backoff: backoffMs * 2^(attempt - 1), from the first retry on; without jitter; never more than an hour.

    Same: Exponential(base), whose factor is 2 and whose cap is an hour unless told otherwise; jitter is on by default, jitter=0 is A's.
    """
    queue = Queue("q", retry=Retry(attempts=16, backoff=Exponential(1.0), jitter=0))

    @queue.handler
    async def fail() -> None:
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(fail)
        await handle.wait()
        pauses = [min(2.0**n, HOUR) for n in range(15)]
        assert pauses[-4:] == [2048, HOUR, HOUR, HOUR]
        (await world.history(handle)).assert_ran(16, apart=pauses, tolerance=0)


@simulated
async def test_a_jitter_is_the_default(world: World) -> None:
    """A, backoff: tasks that fail together come back together, for there is no jitter.

    Mended: the default spreads each pause by a tenth either way, the same way in every run of the same task.
    """
    queue = Queue("q", concurrency=50, retry=Retry(attempts=2, backoff=Constant(100)))

    @queue.handler
    async def fail() -> None:
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([fail.bind() for _ in range(50)])
        await engine.drain()
        pauses = {round((await world.history(handle)).gaps[0], 3) for handle in handles}
    assert len(pauses) > 45
    assert 90 <= min(pauses) < 95 < 105 < max(pauses) <= 110.001


@pytest.mark.parametrize("base", [1.0, 3599.0, 2.0**30])
@simulated
async def test_a_no_backoff_overflows(world: World, base: float) -> None:
    """A, backoff: with an absurd base the doubling overflows, and the retry follows at once.

    Mended: it is the cap at every attempt, whatever the base.
    """
    queue = Queue("q", retry=Retry(attempts=80, backoff=Exponential(base, cap=HOUR), jitter=0))

    @queue.handler
    async def fail() -> None:
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(fail)
        await handle.wait()
        life = (await world.history(handle)).assert_ran(80, apart=[min(base * 2.0**n, HOUR) for n in range(79)], tolerance=0)
        assert life.gaps[40:] == pytest.approx([HOUR] * 39, abs=0.001)


@simulated
async def test_a_a_default_that_does_not_burn_its_retries(world: World) -> None:
    """A, backoff: the only knob is the base, so that a server that is down for minutes uses up all retries in seconds.

    Better: base, factor, cap, jitter, a constant, a line or a function of the attempt; and the server may say when: RetryLater.
    """
    queue = Queue("q", retry=Retry(attempts=4, backoff=lambda n: 10.0 * n, jitter=0))

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt == 2:
            raise RetryLater("429 Too Many Requests", delay=7000)
        if ctx.attempt < 4:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
        (await world.history(handle)).assert_ran(4, apart=[10, 7000, 30], tolerance=0).then_succeeded()


@simulated
async def test_a_a_timer_wakes_the_queue_after_a_restart_too(world: World) -> None:
    """A, backoff: a timer wakes the queue when a retry is due; after a restart only the poll does.

    Better: a timer in both cases.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(17.3), jitter=0))

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=10)
        await world.crash()
        await engine.ready()
        await handle.wait()
        (await world.history(handle)).assert_ran(2, apart=17.3, tolerance=0)


@simulated
async def test_a_the_time_of_a_run(world: World) -> None:
    """A, time-out: a run may take 30 seconds, which nobody can change; a longer one is an error and retried.

    Mended: no limit unless one is set: of the queue, of the handler or of the task.
    """
    queue = Queue("q", concurrency=5, timeout=30, retry=Retry(attempts=2, backoff=Constant(0)))

    @queue.handler
    async def ordinary(seconds: float) -> None:
        await trio.sleep(seconds)

    @queue.handler(timeout=3600)
    async def patient(seconds: float) -> None:
        await trio.sleep(seconds)

    async with world.engine(queues=[queue]) as engine:
        calls = [ordinary.bind(29), ordinary.bind(31), patient.bind(3000), ordinary.using(timeout=None).bind(3500)]
        handles = await engine.submit_many(calls)
        await engine.drain()
        tasks = [await engine.get(handle.id) for handle in handles[1:]]
        assert [(task.state, task.attempt) for task in tasks] == [("failed", 2), ("succeeded", 1), ("succeeded", 1)]
        assert tasks[0].error is not None
        assert tasks[0].error.type.endswith("AttemptTimeout")


@pytest.mark.parametrize("raised", [SystemExit(1), ExceptionGroup("two", [ValueError(), OSError()]), RecursionError(), "result"])
@simulated
async def test_a_whatever_a_handler_does(world: World, raised: object) -> None:
    """A, panic: a trap, and an answer that cannot be read, are ordinary errors; other tasks go on.

    Same: whatever is raised, and a result that has no encoding.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(0)))

    @queue.handler
    async def bad() -> Any:
        if isinstance(raised, BaseException):
            raise raised
        return object()

    @queue.handler
    async def good() -> str:
        return "fine"

    async with world.engine(queues=[queue]) as engine:
        one, other = await engine.submit_many([bad.bind(), good.bind()])
        assert (await one.wait()).state == "failed"
        assert await other.result() == "fine"


@simulated
async def test_a_a_missing_handler(world: World) -> None:
    """A, missing handler: a plugin that asks for the queue and exports no handler is not loaded; one that is not there uses up retries.

    Different: nothing fails and nothing is charged: the task is parked, says so, and runs in the release that has the handler.
    """
    old, none, new = Queue("q"), Queue("q"), Queue("q")

    async def work() -> str:
        return "at last"

    old.handler(work)
    new.handler(work)
    async with world.engine(queues=[old]) as engine:
        handle = await engine.submit(engine.handler("work", "q").using(delay=1))
    async with world.engine(queues=[none]) as engine:
        await world.advance(minutes=30)
        task = await engine.get(handle.id)
        assert (task.state, task.attempt, (await engine.stats())["q"].parked) == ("pending", 0, 1)
        assert [reason.kind for reason in (await engine.explain(handle.id)).reasons] == ["no handler here"]
    async with world.engine(queues=[new]) as engine:
        await engine.drain()
        assert (await engine.get(handle.id)).result == "at last"
