"""Decisions 1, 2, 4, 6 and 7: clocks, order, budgets, limits, policies that change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
import trio

from journeyman.engine import (
    Constant,
    Context,
    Engine,
    Linear,
    NotRetryable,
    Queue,
    Rate,
    Retention,
    Retry,
    Snooze,
    State,
    TaskNotFound,
)
from journeyman.journal.memory_store import MemoryStore
from journeyman.kernel.events import ClockStepped
from journeyman.sim import World, simulate
from tests.acceptance.stores import events_in
from tests.acceptance.virtual import TrioClock

HOUR = 3600.0


class SteppedClock(TrioClock):
    """A wall clock that somebody sets, over a steady one."""

    def __init__(self) -> None:
        self.stepped_us = 0

    def wall(self) -> int:
        return super().wall() + self.stepped_us

    def step(self, seconds: float) -> None:
        self.stepped_us += round(seconds * 1_000_000)

    @property
    def date(self) -> datetime:
        return datetime.fromtimestamp(self.wall() / 1e6, UTC)


def noting() -> tuple[Queue, list[tuple[object, float]]]:
    queue, seen = Queue("q", concurrency=9), list[tuple[object, float]]()

    @queue.handler
    async def note(what: str) -> None:
        seen.append((what, round(trio.current_time() - begun, 1)))

    begun = trio.current_time()
    return queue, seen


# decision 1
@pytest.mark.parametrize("hours", [-2, 2])
async def test_decision_01_a_stepped_clock_rebases_durations_not_instants(hours: int, autojump_clock: trio.testing.MockClock) -> None:
    (queue, seen), clock, store = noting(), SteppedClock(), MemoryStore()
    note = queue.handlers["note"]
    async with Engine("x", [queue], clock=clock, store=store) as engine:
        await engine.submit(note.using(delay=5 * HOUR), "delay")
        await engine.submit(note.using(at=clock.date + timedelta(hours=5)), "at")
        clock.step(hours * HOUR)
        await trio.sleep(8 * HOUR)
    came = dict(seen)
    assert came["delay"] == pytest.approx(5 * HOUR, abs=0.2), "five hours are five hours, whatever the calendar says"
    assert 0 <= came["at"] - (5 - hours) * HOUR <= 60, "an appointment is kept by the calendar, at most a minute late after a step"
    assert [event.delta_us for event in events_in(store) if isinstance(event, ClockStepped)] == [hours * HOUR * 1e6]


# decision 1
@pytest.mark.parametrize("seconds", [-1800, 1800])
async def test_decision_01_small_steps_are_not_followed(seconds: int, autojump_clock: trio.testing.MockClock) -> None:
    (queue, seen), clock, store = noting(), SteppedClock(), MemoryStore()
    note = queue.handlers["note"]
    async with Engine("x", [queue], clock=clock, store=store) as engine:
        await engine.submit(note.using(delay=HOUR), "delay")
        clock.step(seconds)
        await trio.sleep(2 * HOUR)
    assert seen == [("delay", pytest.approx(HOUR, abs=0.2))]
    assert not any(isinstance(event, ClockStepped) for event in events_in(store))


# decision 1
@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("step", [-3500, -1800, -60, 60, 1800, 3500])
@pytest.mark.parametrize("how", ["at before", "at after", "batch", "until", "reschedule"])
def test_decision_01_a_small_step_is_followed_for_whoever_waits_by_the_calendar(how: str, step: int, crash: bool) -> None:
    """After a step or a suspend of under an hour too, `at` is at most a minute late, never early, and delays stay (FOUND 212)."""
    late: list[float] = []
    lasted: list[float] = []

    async def scenario(world: World) -> None:
        queue = Queue("q", concurrency=3)
        at = world.now() + timedelta(seconds=3 * HOUR)

        @queue.handler
        async def named(ctx: Context, until: bool = False) -> None:
            if until and ctx.attempt == 1:
                raise Snooze(until=at)
            late.append((world.now() - at).total_seconds())

        @queue.handler
        async def lasting() -> None:
            lasted.append(trio.current_time())

        async with world.engine([queue]) as engine:
            began = trio.current_time()
            await engine.submit(lasting.using(delay=4 * HOUR))
            handle = await engine.submit(named.using(at=at)) if how == "at before" else None
            await trio.sleep(100)
            world.step_clock(step)
            await trio.sleep(1000)
            if how == "at after":
                handle = await engine.submit(named.using(at=at))
            elif how == "batch":
                (_, handle) = await engine.submit_many([lasting.using(delay=5 * HOUR).bind(), named.using(at=at).bind()])
            elif how == "until":
                handle = await engine.submit(named, True)
            elif how == "reschedule":
                handle = await engine.submit(named.using(delay=5 * HOUR))
                await engine.reschedule(handle.id, at=at)
            await trio.sleep(1)
            if crash:
                await world.crash()
                await engine.ready()
            assert handle is not None
            assert (await handle.wait()).attempt == 1 + (how == "until")
            await trio.sleep(2 * HOUR)
            assert lasted[0] - began == pytest.approx(4 * HOUR, abs=2)

    simulate(scenario)
    assert 0 <= late[0] <= 61


# decision 1
@pytest.mark.parametrize("step", [3000, 10 * 365 * 24 * HOUR])
@pytest.mark.parametrize("named", [False, True])
def test_decision_01_a_clock_set_forward_by_mistake_prunes_nothing(step: int, named: bool) -> None:
    """Whoever names an instant meanwhile makes kernel time follow; that confirms nothing (FOUND 227)."""

    async def scenario(world: World) -> None:
        queue = Queue("q")

        @queue.handler
        async def work() -> None: ...

        async with world.engine([queue]) as engine:
            handles = [await engine.submit(work) for _ in range(3)]
            await engine.drain()
            await engine.submit(work.using(at=world.now() + timedelta(days=40 * 365)))
            await trio.sleep(10 * 60)
            world.step_clock(step)
            if named:
                await engine.submit(work.using(at=world.now() + timedelta(days=1)))
            await trio.sleep(70)
            world.step_clock(-step)
            await trio.sleep(70)
            assert [(await engine.get(handle.id)).state for handle in handles] == [State.SUCCEEDED] * 3

    simulate(scenario)


# decision 1
@pytest.mark.parametrize("how", ["ctx at", "ctx deadline", "reschedule_all"])
def test_decision_01_whoever_names_an_instant_goes_by_the_calendar(how: str) -> None:
    """After a clock that was set back, within the minute in which the engine has not looked yet (FOUND 228)."""
    ran: list[float] = []

    async def scenario(world: World) -> None:
        queue = Queue("q", concurrency=2)

        @queue.handler
        async def work() -> None:
            ran.append(world.time())

        @queue.handler
        async def outer(ctx: Context) -> None:
            at = world.now() + timedelta(seconds=500)
            await ctx.submit(work.using(at=at) if how == "ctx at" else work.using(delay=400, deadline=at))

        async with world.engine([queue]) as engine:
            world.step_clock(-600)
            if how == "reschedule_all":
                await engine.submit(work.using(delay=5000))
                await engine.reschedule_all(queue="q", at=world.now() + timedelta(seconds=500))
            else:
                await (await engine.submit(outer)).result()
            await trio.sleep(1000)

    simulate(scenario)
    assert ran == [pytest.approx(400 if how == "ctx deadline" else 500, abs=0.1)]


# decision 1
@pytest.mark.parametrize("dry_run", [True, False])
def test_decision_01_an_order_that_is_only_tried_moves_no_clock(dry_run: bool) -> None:
    async def scenario(world: World) -> None:
        queue = Queue("q")

        @queue.handler
        async def work() -> None: ...

        async with world.engine([queue]) as engine:
            await engine.submit(work.using(delay=5000))
            world.step_clock(-600)
            assert await engine.reschedule_all(queue="q", at=world.now() + timedelta(seconds=500), dry_run=dry_run) == 1

    trace = simulate(scenario)
    assert trace.counts["ClockStepped"] == (0 if dry_run else 1)


# decision 1
def test_decision_01_a_small_step_while_nobody_was_here() -> None:
    late: list[float] = []

    async def scenario(world: World) -> None:
        queue = Queue("q")
        at = world.now() + timedelta(seconds=HOUR)

        @queue.handler
        async def named() -> None:
            late.append((world.now() - at).total_seconds())

        async with world.engine([queue]) as engine:
            await engine.submit(named.using(at=at))
            await trio.sleep(HOUR - 300)
            await engine.submit(named.using(delay=2 * HOUR))  # the newest instant in the journal
        world.step_clock(-1800)
        async with world.engine([queue]) as engine:
            await trio.sleep(HOUR)

    simulate(scenario)
    assert late == [pytest.approx(0, abs=0.1)]


# decision 1
async def test_decision_01_a_clock_set_back_between_two_boots(autojump_clock: trio.testing.MockClock) -> None:
    (queue, seen), clock, store = noting(), SteppedClock(), MemoryStore()
    note = queue.handlers["note"]
    async with Engine("x", [queue], clock=clock, store=store) as engine:
        await engine.submit(note.using(delay=HOUR), "delay")
        await engine.submit(note.using(at=clock.date + timedelta(hours=1)), "at")
    clock.step(-2 * HOUR)
    async with Engine("x", [queue], clock=clock, store=store) as engine:
        assert [task.state for task in await engine.list()] == [State.SCHEDULED] * 2
        await trio.sleep(4 * HOUR)
    assert dict(seen) == {"delay": pytest.approx(HOUR, abs=0.2), "at": pytest.approx(3 * HOUR, abs=60)}
    assert len([event for event in events_in(store) if isinstance(event, ClockStepped)]) == 1


# decision 1
async def test_decision_01_time_between_two_boots_is_time_that_passed(autojump_clock: trio.testing.MockClock) -> None:
    (queue, seen), clock, store = noting(), SteppedClock(), MemoryStore()
    async with Engine("x", [queue], clock=clock, store=store) as engine:
        await engine.submit(queue.handlers["note"].using(delay=3 * HOUR), "delay")
    await trio.sleep(10 * HOUR)
    async with Engine("x", [queue], clock=clock, store=store) as engine:
        await engine.drain()
        await trio.sleep(1)
    assert [when for _, when in seen] == [pytest.approx(10 * HOUR, abs=1.1)]


# decision 2
async def test_decision_02_what_was_retried_goes_ahead_of_younger_ones(autojump_clock: trio.testing.MockClock) -> None:
    queue, runs = Queue("q", retry=Retry(attempts=3, backoff=Constant(5), jitter=0)), list[tuple[str, int]]()

    @queue.handler
    async def work(ctx: Context, name: str) -> None:
        runs.append((name, ctx.attempt))
        await trio.sleep(2)
        if name == "old" and ctx.attempt == 1:
            raise ValueError("again")
        if name == "snoozed" and ctx.attempt == 1:
            raise Snooze(3)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.submit_many([work.bind(name) for name in ("old", "snoozed", "a", "b", "c", "d")])
        await engine.drain()
    # old waits until 7, snoozed until 7; nobody waits for them, and when they are due they come before what is younger.
    assert runs == [("old", 1), ("snoozed", 1), ("a", 1), ("b", 1), ("old", 2), ("snoozed", 2), ("c", 1), ("d", 1)]


# decision 4
async def test_decision_04_retry_from_any_end_but_success(autojump_clock: trio.testing.MockClock) -> None:
    queue, runs = Queue("q", retry=Retry(attempts=2, backoff=Constant(0))), list[tuple[str, int]]()

    @queue.handler
    async def work(ctx: Context, name: str) -> None:
        runs.append((name, ctx.attempt))
        if name == "fail" and ctx.attempt < 4:
            raise ValueError("no")

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        failed = await engine.submit(work, "fail")
        await failed.wait()
        cancelled = await engine.submit(work.using(delay=1), "cancel")
        await cancelled.cancel()
        done = await engine.submit(work, "done")
        await done.wait()
        await engine.pause("q")
        waiting = await engine.submit(work, "waiting")
        for id in (done.id, waiting.id):
            with pytest.raises(NotRetryable):
                await engine.retry(id)
        await trio.sleep(1)
        await engine.retry(failed.id)
        await engine.retry(cancelled.id)
        task = await engine.get(failed.id)
        assert (task.state, task.attempt, task.failures, task.crashes) == (State.PENDING, 2, 0, 0)
        assert (task.error is None) or task.failures == 0
        with pytest.raises(TaskNotFound):
            await engine.retry(str(uuid4()))
        runs.clear()
        await engine.resume("q")
        await engine.drain()
        assert runs == [("waiting", 1), ("fail", 3), ("fail", 4), ("cancel", 1)], "to the back of the order; the attempt goes on"
        assert (await failed.wait()).failures == 1


# decision 4
async def test_decision_04_backoff_takes_the_failures(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = Queue("q", retry=Retry(attempts=3, backoff=Linear(10), jitter=0)), list[float]()

    @queue.handler
    async def work(ctx: Context) -> None:
        starts.append(trio.current_time())
        if ctx.attempt in (1, 3):
            raise Snooze(1)
        raise ValueError("no")

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        task = await (await engine.submit(work)).wait()
    assert [b - a for a, b in pairwise(starts)] == pytest.approx([1, 10, 1, 20], abs=0.001)
    assert (task.attempt, task.failures) == (5, 3)


# decision 6
async def test_decision_06_snoozes_and_cancels_give_no_token_back(autojump_clock: trio.testing.MockClock) -> None:
    queue, starts = Queue("q", concurrency=9, rate=Rate(1, per=10.0)), list[float]()

    @queue.handler
    async def work(ctx: Context) -> None:
        starts.append(trio.current_time())
        if ctx.attempt == 1:
            raise Snooze(0)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.submit_many([work.bind() for _ in range(2)])
        waiting = await engine.submit(work)
        await waiting.cancel()
        await engine.drain()
    assert [b - a for a, b in pairwise(starts)] == pytest.approx([10] * 3, abs=0.001)


# decision 7
async def test_decision_07_expiry_is_the_end_plus_current_retention(autojump_clock: trio.testing.MockClock) -> None:
    store, expiries = MemoryStore(), list[float]()
    for keep in (100.0, 7.0):
        queue = Queue("q", retention=Retention(succeeded=keep))

        @queue.handler
        async def work() -> None: ...

        async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
            task = await (await engine.submit(work)).wait()
            first = (await engine.list())[-1]
            assert first.expires_at is not None
            assert task.expires_at is not None
            assert task.finished_at is not None
            expiries.append((task.expires_at - task.finished_at).total_seconds())
            if keep == 7.0:
                assert first.finished_at is not None
                assert (first.expires_at - first.finished_at).total_seconds() == 100, "decided then, kept now"
                await trio.sleep(7.5)
                assert [t.id for t in await engine.list()] == [first.id], "invisible exactly on time"
                with pytest.raises(TaskNotFound):
                    await engine.get(task.id)
                assert await engine.count() == 1
    assert expiries == [100, 7]
