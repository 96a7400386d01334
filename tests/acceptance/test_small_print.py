"""Small print that somebody who had read only the specification stumbled over (FOUND 210 to 219)."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Context, Engine, Queue, QueueExists, Rate, Retry, RetryLater, State
from journeyman.sim import World, simulate
from tests.acceptance.virtual import TrioClock


def one(**policy: object) -> Queue:
    queue = Queue("q", **policy)  # type: ignore[arg-type]

    @queue.handler
    async def noop(n: int = 0) -> int:
        return n

    return queue


# row 92
@pytest.mark.parametrize("failure", ["cancel", "run"])
async def test_row_92_a_list_of_dependencies_may_be_empty(failure: str) -> None:
    queue = one()
    async with Engine(None, [queue]) as engine:
        noop = engine.handler("noop", "q")
        handle = await engine.submit(noop.using(after=(), after_failure=failure), 7)  # type: ignore[arg-type]
        assert await handle.result() == 7
        handle = await engine.submit(noop.using(after_failure="cancel"), 8)  # what holds anyway
        assert await handle.result() == 8
        again = noop.using(after=(), after_failure=failure).using(priority=3)  # type: ignore[arg-type]
        assert await (await engine.submit(again, 9)).result() == 9
        with pytest.raises(ValueError, match="give after="):
            noop.using(after_failure="run")


# row 28
async def test_row_28_without_a_delay_the_backoff_says_when(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", retry=Retry(attempts=4, backoff=Constant(60), jitter=0))
    at: list[float] = []

    @queue.handler
    async def busy() -> None:
        at.append(trio.current_time())
        if len(at) < 3:
            raise RetryLater("429")
        if len(at) == 3:
            raise RetryLater("at once", delay=0)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await (await engine.submit(busy)).wait()
    assert [round(later - at[0], 1) for later in at] == [0, 60, 120, 120]


async def test_a_queue_parked_without_a_delay_is_parked_for_the_backoff(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=2, retry=Retry(attempts=2, backoff=Constant(60), jitter=0))
    at: list[tuple[int, float]] = []

    @queue.handler
    async def call(n: int) -> None:
        at.append((n, trio.current_time()))
        if len(at) == 1:
            raise RetryLater("429", scope="queue")

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        first = await engine.submit(call, 1)
        await trio.sleep(1)
        second = await engine.submit(call, 2)
        await first.wait()
        await second.wait()
    assert [n for n, _ in at[:1]] == [1] and sorted(n for n, _ in at[1:]) == [1, 2]
    assert at[1][1] - at[0][1] == pytest.approx(60, abs=0.1)


# row 32
@pytest.mark.parametrize("limit", ["timeout", "heartbeat"])
async def test_row_32_an_error_of_the_clean_up_is_attached_to_the_time_out(limit: str, autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", **{limit: 2})  # type: ignore[arg-type]

    @queue.handler
    async def messy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError("in the clean-up")

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        task = await (await engine.submit(messy)).wait()
    assert task.error is not None
    assert task.error.type.endswith("AttemptTimeout")
    assert limit in task.error.message and "ZeroDivisionError: in the clean-up" in task.error.message
    assert "ZeroDivisionError" in task.error.traceback


# row 42
async def test_row_42_no_patience_is_enough_where_there_is_nothing_to_wait_for() -> None:
    async with Engine(None, [one()]) as engine:
        await engine.drain(timeout=0)
        handle = await engine.submit("noop", 3)
        await engine.drain()
        await engine.drain(timeout=0)
        assert (await handle.wait(timeout=0)).state is State.SUCCEEDED
        await engine.pause("q")
        handle = await engine.submit("noop")
        with pytest.raises(trio.TooSlowError):
            await handle.wait(timeout=0)
        await engine.drain(timeout=0)  # it cannot move by itself


def test_row_42_nor_in_simulation() -> None:
    async def scenario(world: World) -> None:
        async with world.engine([one()]) as engine:
            handle = await engine.submit("noop", 3)
            await handle.wait()
            assert await handle.result(timeout=0) == 3
            await engine.drain(timeout=0)
            await engine.pause("q")
            handle = await engine.submit("noop")
            began = trio.current_time()
            with pytest.raises(trio.TooSlowError):
                await handle.wait(timeout=5)
            assert trio.current_time() - began == pytest.approx(5, abs=0.1)
            await world.crash()  # the engine is away for a second
            with pytest.raises(trio.TooSlowError):
                await handle.wait(timeout=0.5)
            await engine.ready()

    simulate(scenario)


async def test_draining_from_inside_would_wait_for_itself() -> None:
    queue, other = Queue("q"), one()
    other = Queue("other")
    said: list[str] = []

    @queue.handler
    async def drains(ctx: Context) -> None:
        with pytest.raises(RuntimeError, match="itself") as caught:
            await ctx.engine.drain(timeout=5)
        said.append(str(caught.value))

    async with Engine(None, [queue, other]) as engine:
        await (await engine.submit(drains)).result()
    assert said


async def test_what_a_handler_has_left_behind_may_drain() -> None:
    """A task started in somebody else's nursery bears the handler's context, and outlives it (FOUND 229)."""
    queue, drained = Queue("q"), trio.Event()

    async with trio.open_nursery() as nursery:

        @queue.handler
        async def starts() -> None:
            nursery.start_soon(later)

        async def later() -> None:
            await handle.wait()
            await engine.drain(timeout=5)
            drained.set()

        async with Engine(None, [queue]) as engine:
            handle = await engine.submit(starts)
            with trio.fail_after(5):
                await drained.wait()


def test_a_parameter_may_be_called_self_everywhere() -> None:
    queue = Queue("q")

    @queue.handler
    async def named(self: int) -> int:
        return self

    async def scenario(world: World) -> None:
        async with world.engine([queue]) as engine:
            assert await (await engine.submit(named, self=5)).result() == 5
            (handle,) = await engine.submit_many([named.bind(self=6)])
            assert await handle.result() == 6

    simulate(scenario)


def failing_first(bad: list[int], order: list[str]) -> Queue:
    queue = Queue("q")

    @queue.handler
    async def put(name: str) -> None:
        if bad:
            raise ValueError(name)
        order.append(name)

    return queue


# row 30
@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("crash", [False, True])
def test_row_30_a_retry_goes_behind_what_is_due_at_the_same_instant(key: str | None, crash: bool) -> None:
    """Time stands still in a simulation while nothing sleeps (DECISIONS 4: "to the back of the order")."""
    bad, order = [1], list[str]()

    async def scenario(world: World) -> None:
        bad[:], order[:] = [1], []
        async with world.engine([failing_first(bad, order)]) as engine:
            put = engine.handler("put", "q").using(key=key)
            first = await engine.submit(put, "a")
            await first.wait()
            bad.clear()
            await engine.pause("q")
            await engine.submit(put, "b")
            await engine.retry(first.id)
            await engine.submit(put, "c")
            if crash:
                await world.crash()
                await engine.ready()
            await engine.resume("q")
            await engine.drain()

    simulate(scenario)
    assert order == ["b", "a", "c"]


# row 30
def test_row_30_a_retry_by_hand_has_no_deadline() -> None:
    bad, order = [1], list[str]()

    async def scenario(world: World) -> None:
        async with world.engine([failing_first(bad, order)]) as engine:
            put = engine.handler("put", "q")
            failed = await engine.submit(put.using(deadline=10), "failed")
            await failed.wait()
            await engine.pause("q")
            missed = await engine.submit(put.using(deadline=10), "missed")
            await trio.sleep(60)
            assert (await missed.wait()).reason == "deadline"
            bad.clear()
            await engine.resume("q")
            await engine.retry(failed.id)
            await engine.retry(missed.id)
            await engine.drain()
            assert (await engine.get(missed.id)).deadline_at is None

    simulate(scenario)
    assert order == ["failed", "missed"]


@pytest.mark.parametrize("step", [7200, -7200])
@pytest.mark.parametrize("crash", [False, True])
def test_decision_01_a_deadline_in_seconds_moves_with_the_clock_and_one_by_the_calendar_does_not(step: int, crash: bool) -> None:
    async def scenario(world: World) -> None:
        async with world.engine([one()]) as engine:
            noop = engine.handler("noop", "q")
            await engine.pause("q")
            lasting = await engine.submit(noop.using(deadline=4000))
            dated = await engine.submit(noop.using(deadline=world.now() + timedelta(seconds=4000)))
            await trio.sleep(100)
            world.step_clock(step)
            await trio.sleep(150)  # the engine looks at the clock once a minute
            if crash:
                await world.crash()
                await engine.ready()
            assert (await engine.get(lasting.id)).state is State.PENDING
            assert (await engine.get(dated.id)).state is (State.CANCELLED if step > 0 else State.PENDING)
            await trio.sleep(3600)
            assert (await engine.get(lasting.id)).state is State.PENDING
            await trio.sleep(300)
            assert (await engine.get(lasting.id)).state is State.CANCELLED
            if step < 0:
                assert (await engine.get(dated.id)).state is State.PENDING

    simulate(scenario)


# row 89
def test_row_89_an_engine_that_refuses_to_open_is_the_scenarios_to_catch() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(QueueExists):
            async with world.engine([Queue("a"), Queue("a")]):
                pass
        rates = [Queue("a", rate=Rate(1, name="r")), Queue("b", rate=Rate(2, name="r"))]
        engine = world.engine(rates)
        for _ in range(2):
            with pytest.raises(ValueError, match="r"):
                await engine.__aenter__()
        async with world.engine([one()]) as other:
            assert await (await other.submit("noop", 3)).result() == 3

    simulate(scenario)
    with pytest.raises(QueueExists):  # and ends the run if it does not

        async def careless(world: World) -> None:
            async with world.engine([Queue("a"), Queue("a")]):
                pass

        simulate(careless)
