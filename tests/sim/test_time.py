"""Two clocks: the wall clock steps, drifts and jumps, while virtual time goes on; no task runs twice or early for it."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
import trio

from journeyman import Constant, Context, Queue, Rate, Retention, Retry, RetryLater, Snooze, TaskNotFound
from journeyman.sim import Faults, PromiseBroken, World, simulate

HOUR = 3600.0
DAY = 24 * HOUR


def bells(**options: object) -> tuple[Queue, list[tuple[str, float]]]:
    """A queue whose handler writes down at which second of virtual time it was entered."""
    queue = Queue("bells", concurrency=10, **options)  # type: ignore[arg-type]
    rung: list[tuple[str, float]] = []

    @queue.handler
    async def ring(name: str) -> None:
        rung.append((name, trio.current_time()))

    return queue, rung


@pytest.mark.parametrize("step", [HOUR, -HOUR, 2 * HOUR, -2 * HOUR, 90.0, -90.0, 7 * 86_400.0], ids=lambda step: f"{step:+g}s")
def test_a_delay_counts_what_really_passes(step: float) -> None:
    """DST, NTP and an operator's hand move the wall clock; an hour from now stays an hour from now, and is rung once."""
    queue, rung = bells()

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            ring = queue.handlers["ring"]
            await engine.submit(ring.using(delay=HOUR), "delayed")
            await world.advance(minutes=20)
            world.step_clock(step)
            await world.advance(hours=30)

    simulate(scenario)
    assert [name for name, _ in rung] == ["delayed"]
    assert rung[0][1] == pytest.approx(HOUR, abs=0.001)


@pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR], ids=lambda step: f"{step:+g}s")
def test_an_instant_of_the_calendar_follows_the_wall_clock(step: float) -> None:
    """Within a minute: that is how often the engine looks; never before the wall clock shows it."""
    queue, rung = bells()
    due = timedelta(hours=5)

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit(queue.handlers["ring"].using(at=world.now() + due), "at five")
            await world.advance(hours=1)
            world.step_clock(step)
            await world.advance(hours=12)

    simulate(scenario)
    assert len(rung) == 1
    assert due.total_seconds() - step <= rung[0][1] <= due.total_seconds() - step + 61


def test_a_suspend_is_a_step_forward() -> None:
    """A machine that slept eight hours: what the calendar called for meanwhile runs once, at waking."""
    queue, rung = bells()

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            for hour in range(1, 8):
                await engine.submit(queue.handlers["ring"].using(at=world.now() + timedelta(hours=hour)), f"at {hour}")
            await world.advance(minutes=30)
            world.step_clock(8 * HOUR)
            await world.advance(minutes=2)

    simulate(scenario)
    assert sorted(name for name, _ in rung) == [f"at {hour}" for hour in range(1, 8)]


def test_small_steps_and_drift_are_not_noticed_within_a_boot() -> None:
    """Kernel time follows the wall clock only when they are more than an hour apart (DECISIONS 1)."""
    queue, rung = bells()

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            for minute in range(60):
                await engine.submit(queue.handlers["ring"].using(delay=60), str(minute))
                world.step_clock(world.random.uniform(-30, 30))
                await world.advance(minutes=2)

    trace = simulate(scenario, faults=Faults(clock_drift=500))
    assert "ClockStepped" not in trace.counts
    assert [round(at % 120, 2) for _, at in rung] == [60] * 60


def test_steps_by_chance_ring_nothing_twice_and_nothing_early() -> None:
    """Seed 8: a submit was on its way in the very turn in which kernel time followed the wall clock, and kept the old due instant."""
    for seed in range(10):
        queue, rung = bells(retry=Retry(crashes=100))

        async def scenario(world: World, queue: Queue = queue) -> None:
            async with world.engine(queues=[queue]) as engine:
                for n in range(20):
                    await engine.submit(queue.handlers["ring"].using(delay=1800), str(n))
                    await world.advance(minutes=10)
                await world.advance(hours=1)

        simulate(scenario, seed=seed, faults=Faults(clock_step=(0.1, 4 * HOUR), clock_drift=200))
        assert [name for name, _ in rung] == [str(n) for n in range(20)]
        assert all(at >= int(name) * 600 + 1799 for name, at in rung)


@pytest.mark.parametrize("step", [3 * HOUR, -3 * HOUR], ids=lambda step: f"{step:+g}s")
def test_a_delay_said_to_ctx_submit_before_a_step(step: float) -> None:
    """It counts from the call, and the task exists from the success on."""
    queue, rung = bells()

    @queue.handler
    async def slow(ctx: Context) -> None:
        ctx.submit(queue.handlers["ring"].using(delay=1200), "child")
        await trio.sleep(600)

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit(slow)
            await world.advance(minutes=3)
            world.step_clock(step)
            await world.advance(hours=7)

    simulate(scenario)
    assert [(name, round(at, 3)) for name, at in rung] == [("child", 1200.0)]


def test_a_clock_set_back_while_the_process_is_down() -> None:
    queue, rung = bells()

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            handle = await engine.submit(queue.handlers["ring"].using(delay=2 * HOUR), "later")
            await world.advance(hours=1)
            await world.crash()
            world.step_clock(-3 * HOUR)
            await handle.wait()

    simulate(scenario)
    assert [name for name, _ in rung] == ["later"]
    assert rung[0][1] >= 2 * HOUR


def test_the_two_clocks() -> None:
    async def scenario(world: World) -> None:
        assert world.now() == datetime(2030, 1, 1, tzinfo=UTC)
        assert world.time() == 0
        await world.advance(days=1, hours=2, minutes=3, seconds=4)
        assert world.time() == 93_784
        world.step_clock(-HOUR)
        assert world.time() == 93_784
        assert world.now() == datetime(2030, 1, 2, 1, 3, 4, tzinfo=UTC)

    assert simulate(scenario).seconds == 93_784


def test_the_world_can_begin_when_it_likes() -> None:
    async def scenario(world: World) -> None:
        assert world.now() == datetime(2026, 3, 29, tzinfo=UTC)

    simulate(scenario, start=datetime(2026, 3, 29, tzinfo=UTC))
    with pytest.raises(ValueError, match="aware"):
        simulate(scenario, start=datetime(2026, 3, 29))


def test_retention_by_virtual_time() -> None:
    queue, _ = bells(retention=Retention(succeeded=3 * 86_400))

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            handle = await engine.submit(queue.handlers["ring"], "kept")
            await world.advance(days=2.9)
            await engine.get(handle.id)
            await world.advance(days=0.2)
            with pytest.raises(TaskNotFound):
                await engine.get(handle.id)

    simulate(scenario)


def test_a_rate_holds_across_crashes() -> None:  # row 82
    """In any window of w seconds at most burst + limit * w / per entries, wherever the process dies.

    The journal knows the starts; entries come a commit later, which the gate takes to be 50 ms at most when it knows nothing else, that is
    right after a restart (actors/gate.py).  So the disk here is slow, and not slower than that.
    """
    rate = Rate(5, per=10, burst=3)
    crashes = 0
    for seed in range(15):
        queue, rung = bells(rate=rate, retry=Retry(crashes=1000))

        async def scenario(world: World, queue: Queue = queue) -> None:
            async with world.engine(queues=[queue]) as engine:
                for n in range(30):
                    await engine.ready()
                    try:
                        await engine.submit(queue.handlers["ring"], str(n))
                    except Exception:
                        continue
                await world.advance(minutes=1)

        crashes += simulate(scenario, seed=seed, faults=Faults(crash=0.01, restart=0.5, disk_latency=(0, 0.04))).counts["crash"]
        instants = [at for _, at in rung]
        assert len(instants) > 10
        for first, start in enumerate(instants):
            for last in range(first, len(instants)):
                assert last - first + 1 <= rate.burst + rate.limit * (instants[last] - start) / rate.per + 1e-6
    assert crashes > 15


# --- threads --------------------------------------------------------------------------------------------------------------------------


def test_thread_handlers_run_in_line_on_virtual_time() -> None:
    queue = Queue("thread", timeout=5)
    thread_ids = set()

    @queue.handler
    def compute(ctx: Context, n: int) -> int:
        thread_ids.add(threading.get_ident())
        ctx.progress(0.5, "half way")
        assert not ctx.cancelled
        return n * n

    @queue.handler
    async def offload(n: int) -> int:
        before = trio.current_time()
        await trio.sleep(1)
        result = await trio.to_thread.run_sync(lambda: n * n)
        assert trio.current_time() - before == 1, "a thread takes no virtual time"
        return result

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            before = world.time()
            handles = [await engine.submit(compute, n) for n in range(10)]
            assert [await handle.result() for handle in handles] == [n * n for n in range(10)]
            assert world.time() == before
            assert await (await engine.submit(offload, 7)).result() == 49

    simulate(scenario)
    assert thread_ids == {threading.get_ident()}


def test_handlers_that_sleep_time_out_and_spawn() -> None:
    queue = Queue("async", timeout=60)

    @queue.handler
    async def late() -> None:
        await trio.sleep(61)

    @queue.handler
    async def spawn() -> float:
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            for seconds in (10, 20, 30):
                nursery.start_soon(trio.sleep, seconds)
        return trio.current_time() - before

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            task = await (await engine.submit(late)).wait()
            assert task.error is not None
            assert "Timeout" in task.error.type
            assert world.time() == 60
            assert await (await engine.submit(spawn)).result() == 30

    simulate(scenario)


@pytest.fixture
def two_days_in_place_of_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["journeyman.sim.simulate"], "REST_DAYS", 2.0)  # a month takes seconds to simulate


@pytest.mark.usefixtures("two_days_in_place_of_a_month")
@pytest.mark.parametrize("pause", [2.5, 4.0, 10.0], ids=lambda days: f"{days:g} days")
@pytest.mark.parametrize("how", ["snooze", "backoff", "parking"])
def test_the_calm_phase_waits_for_what_is_due_after_a_month(how: str, pause: float) -> None:
    queue = Queue("patient", retry=Retry(attempts=3, backoff=Constant(pause * DAY), jitter=0))

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt > 2:
            return
        match how:
            case "snooze":
                raise Snooze(pause * DAY)
            case "backoff":
                raise ConnectionError
        raise RetryLater("come back", pause * DAY, scope="queue")

    async def leave_it(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit(work)

    assert 2 * pause * DAY <= simulate(leave_it, converge=True).seconds < (2 * pause + 1) * DAY


@pytest.mark.usefixtures("two_days_in_place_of_a_month")
def test_the_calm_phase_does_not_wait_for_what_goes_on_for_ever() -> None:
    queue = Queue("restless")

    @queue.handler
    async def work() -> None:
        raise Snooze(3600)

    async def leave_it(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit(work)

    with pytest.raises(PromiseBroken, match="everything comes to rest: not within 3.* days without faults"):
        simulate(leave_it, converge=True)


def test_the_wall_clock_shows_no_time_before_1970() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ValueError, match="before 1970"):
            world.step_clock(-3e9)
        world.step_clock(-1.8e9)
        assert world.now().year == 1972
        await world.advance(hours=10)

    simulate(scenario, faults=Faults(clock_step=(1.0, 3e9)))  # back as far as it goes, now and then
    with pytest.raises(ValueError, match="start must leave its clock room.* from 1971"):
        simulate(scenario, start=datetime(1969, 12, 31, tzinfo=UTC))


@pytest.mark.parametrize("drift", [-100_000, -20_000, 20_000, 100_000])
def test_a_clock_that_drifts_far_breaks_no_promise_of_schedules(drift: float) -> None:
    """Its alarm is set anew once a minute, so a fire may be late by what a minute drifts (FOUND 219)."""

    async def scenario(world: World) -> None:
        queue, fired = Queue("q"), list[float]()

        @queue.handler
        async def tick() -> None:
            fired.append(trio.current_time())

        async with world.engine([queue]) as engine:
            await engine.schedule("c", tick, cron="* * * * *")
            await engine.schedule("e", tick, every=60)
            await world.advance(minutes=30)
        assert len(fired) > 50

    simulate(scenario, faults=Faults(clock_drift=drift))
