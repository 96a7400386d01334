"""tingly-box's task package: how a run ends, what is retried and when."""

from __future__ import annotations

import pytest
import trio

from journeyman import Constant, Context, Exponential, Queue, Retry, RetryLater, Snooze
from journeyman.sim import World
from tests.parity.virtual import simulated

ONLY_WHAT_SAYS_SO = ()  # Retry(on=()): as B, only an error that asks for it is retried


@simulated
async def test_b_counting(world: World) -> None:
    """B, attempt counting: the attempt goes up by one when a run starts, and started_at is set each time.

    Same.
    """
    queue, seen = Queue("q", retry=Retry(attempts=3, backoff=Constant(10), jitter=0)), []

    @queue.handler
    async def work(ctx: Context) -> None:
        task = await ctx.engine.get(ctx.id)
        assert task.started_at is not None
        seen.append((task.state, task.attempt, (task.started_at - task.submitted_at).total_seconds()))
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await (await engine.submit(work)).wait()
    assert [(state, attempt, round(at)) for state, attempt, at in seen] == [("running", 1, 0), ("running", 2, 10), ("running", 3, 20)]


@simulated
async def test_b_success(world: World) -> None:
    """B, success: succeeded, with the result as JSON and finished_at.

    Better: the result comes back as the type it was.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> tuple[int, bytes]:
        await trio.sleep(5)
        return 7, b"\x00"

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(work)).wait()
        assert (task.state, task.result) == ("succeeded", (7, b"\x00"))
        assert task.finished_at is not None
        assert (task.finished_at - task.submitted_at).total_seconds() == 5


@simulated
async def test_b_no_error_after_a_cancel(world: World) -> None:
    """B, success: a handler that returns without an error although it was cancelled has succeeded.

    Same.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        with trio.move_on_after(1000):
            try:
                await trio.sleep(1000)
            except trio.Cancelled:
                return "saved what there was"
        return "all of it"

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=1)
        await handle.cancel("enough")
        assert await handle.result() == "saved what there was"


@simulated
async def test_b_a_plain_error(world: World) -> None:
    """B, plain error: the task fails at once, however many attempts it has.

    Different: here every error is retried unless Retry(on=...) says which; on=() is B's rule.
    """
    queue, runs = Queue("q", retry=Retry(attempts=5, on=ONLY_WHAT_SAYS_SO)), []

    @queue.handler
    async def work() -> None:
        runs.append(1)
        raise ValueError("no such file")

    async with world.engine(queues=[queue]) as engine:
        task = await (await engine.submit(work)).wait()
        assert (task.state, len(runs)) == ("failed", 1)
        assert task.error is not None
        assert (task.error.message, task.finished_at) == ("no such file", task.submitted_at)


@pytest.mark.parametrize("wrapped", [False, True])
@simulated
async def test_b_an_error_that_says_retry(world: World, wrapped: bool) -> None:
    """B, RetryableError: also when it is wrapped, the task runs again until its attempts, which count all runs, are spent.

    Same: RetryLater, also inside an exception group.
    """
    queue = Queue("q", retry=Retry(attempts=3, on=ONLY_WHAT_SAYS_SO))

    @queue.handler
    async def work(ctx: Context) -> None:
        error = RetryLater(ConnectionError(f"run {ctx.attempt}"), delay=7)
        raise ExceptionGroup("wrapped", [error]) if wrapped else error

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=5)
        task = await engine.get(handle.id)
        assert task.error is not None
        assert (task.state, task.error.message) == ("retrying", "run 1")
        await handle.wait()
        (await world.history(handle)).assert_ran(3, apart=7, tolerance=0).then_dead_lettered("run 3")


@simulated
async def test_b_attempts_of_one_by_default(world: World) -> None:
    """B, RetryableError: with MaxAttempts of 0 or 1, the default, it fails after one run.

    Same: the default is one; 0 is refused.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        raise RetryLater("please", delay=1)

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
        (await world.history(handle)).assert_ran(1).then_dead_lettered("please")
        with pytest.raises(ValueError, match="attempts"):
            work.using(attempts=0)


@simulated
async def test_b_the_default_pauses(world: World) -> None:
    """B, backoff: 10, 20, 40, 80, 160, 320, 600, 600 seconds: 2^attempt * 5, at most ten minutes.

    Same: with Exponential(10, cap=600) and jitter=0.
    """
    queue = Queue("q", retry=Retry(attempts=9, backoff=Exponential(10, cap=600), jitter=0))

    @queue.handler
    async def work() -> None:
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
        (await world.history(handle)).assert_ran(9, apart=[10, 20, 40, 80, 160, 320, 600, 600], tolerance=0)


@simulated
async def test_b_no_pause_overflows(world: World) -> None:
    """B, backoff: at attempts 31, 34, 36, 38, 45 and others the shift overflows, the delay is negative, and the retry follows at once.

    Mended: from the seventh pause on it is the cap, at every attempt.
    """
    queue = Queue("q", retry=Retry(attempts=100, backoff=Exponential(10, cap=600), jitter=0))

    @queue.handler
    async def work() -> None:
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
        (await world.history(handle)).assert_ran(100, apart=[10, 20, 40, 80, 160, 320, *[600] * 93], tolerance=0)


@simulated
async def test_b_a_pause_of_ones_own(world: World) -> None:
    """B, backoff: a delay that the handler names is used as it is, also above the cap.

    Same.
    """
    queue = Queue("q", retry=Retry(attempts=3, backoff=Exponential(10, cap=600)))

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt < 3:
            raise RetryLater(delay=5000 if ctx.attempt == 1 else 0.5)

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
        (await world.history(handle)).assert_ran(3, apart=[5000, 0.5], tolerance=0).then_succeeded()


@simulated
async def test_b_not_yet(world: World) -> None:
    """B, asked for: an outcome that is neither success nor failure: run me again later.

    Better: raise Snooze(delay) or Snooze(until=...), which charges nothing; Cancel and Fatal are two more.
    """
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(5), jitter=0))

    @queue.handler
    async def work(ctx: Context) -> str:
        if ctx.attempt <= 3:
            raise Snooze(60)
        if ctx.attempt == 4:
            raise ConnectionError("the one failure it may have")
        return "ready"

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=90)
        task = await engine.get(handle.id)
        assert (task.state, task.attempt, task.failures) == ("scheduled", 2, 0)
        task = await handle.wait()
        assert (task.state, task.attempt, task.failures) == ("succeeded", 5, 1)
        (await world.history(handle)).assert_ran(5, apart=[60, 60, 60, 5], tolerance=0)


@simulated
async def test_b_a_missing_handler(world: World) -> None:
    """B, handler missing: the task fails when its turn comes, with attempt 1 and no retry.

    Mended: it is parked with its attempts untouched, and runs in the release that has the handler.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        return "done"

    async with world.engine(queues=[]) as engine:
        await engine.create_queue(Queue("q"))
        handle = await engine.submit(engine.handler("work", "q"))
        await world.advance(minutes=10)
        task = await engine.get(handle.id)
        assert (task.state, task.attempt) == ("pending", 0)
    async with world.engine(queues=[queue]) as engine:
        await engine.drain()
        task = await engine.get(handle.id)
        assert (task.state, task.attempt, task.result) == ("succeeded", 1, "done")


@pytest.mark.parametrize("error", [ZeroDivisionError(), AssertionError(), SystemExit(3), GeneratorExit()])
@simulated
async def test_b_panic(world: World, error: BaseException) -> None:
    """B, panic: not recovered: the process dies, and the task is interrupted at the next start.

    Mended: the run has failed; the process and its other tasks go on.
    """
    queue = Queue("q", concurrency=2, retry=Retry(attempts=2, backoff=Constant(1), on=(BaseException,)))

    @queue.handler
    async def bad(ctx: Context) -> str:
        if ctx.attempt == 1:
            raise error
        return "the second time"

    @queue.handler
    async def good() -> str:
        await trio.sleep(10)
        return "went on"

    async with world.engine(queues=[queue]) as engine:
        one, other = await engine.submit_many([bad.bind(), good.bind()])
        assert await one.result() == "the second time"
        assert await other.result() == "went on"


@simulated
async def test_b_time_out(world: World) -> None:
    """B, time-out: none.

    Better: none unless asked for: timeout= for a run, heartbeat= for a handler that has gone silent.
    """
    queue = Queue("q", concurrency=3)

    @queue.handler
    async def work(beats: bool) -> str:
        await trio.sleep(80_000)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        calls = [work.bind(True), work.using(timeout=60).bind(True), work.using(heartbeat=30).bind(False)]
        endless, limited, silent = await engine.submit_many(calls)
        one, other = await limited.wait(), await silent.wait()
        assert one.error is not None
        assert other.error is not None
        assert "time" in one.error.message
        assert "heartbeat" in other.error.message
        assert world.time() == 60
        assert await endless.result() == "done"


@simulated
async def test_b_a_retried_task_and_those_behind_it(world: World) -> None:
    """B, due rule: a task that was retried is due again at its own instant and goes by its creation.

    Same: it keeps its place in the order, whatever came later.
    """
    queue, order = Queue("q", retry=Retry(attempts=2, backoff=Constant(3), jitter=0)), []

    @queue.handler
    async def work(ctx: Context, n: int) -> None:
        order.append(n)
        await trio.sleep(1)
        if n == 0 and ctx.attempt == 1:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.bind(n) for n in range(8)])
        await engine.drain()
    assert order == [0, 1, 2, 3, 0, 4, 5, 6, 7]
