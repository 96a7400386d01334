"""`journeyman from-test` where the clock was set, or the machine slept, while the task lived (FOUND 233)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.cli.from_history import test_of as source_of
from journeyman.engine import Constant, Context, JourneymanError, Queue, Retention, Retry, Snooze
from journeyman.journal.course import course_of
from journeyman.journal.redaction import Redaction
from journeyman.journal.steady import Steady
from journeyman.journal.view import open_journal
from journeyman.kernel.events import ClockStepped, TaskSubmitted
from journeyman.sim import Faults, World, simulate

HOUR = 3600.0
DAY = 24 * HOUR


def record(folder: Path, steps: list[tuple[float, float]], crash_after: float) -> Path:
    """A journal of lives around these steps, (at, seconds): by the calendar and by the clock, with and without a crash."""
    queue = Queue("q", retry=Retry(attempts=4, backoff=Constant(100), jitter=0.1), concurrency=20, retention=Retention(*[365 * DAY] * 4))

    @queue.handler
    async def brief() -> None:
        await trio.sleep(5)

    @queue.handler
    async def long() -> None:
        await trio.sleep(900)

    @queue.handler
    async def flaky(ctx: Context) -> None:
        await trio.sleep(3)
        if ctx.attempt < 4:
            raise ValueError("no")

    async def scenario(world: World) -> None:
        start = world.now()

        @queue.handler
        async def doze(ctx: Context) -> None:
            if ctx.attempt == 1:
                raise Snooze(until=start + timedelta(seconds=700))
            if ctx.attempt == 2:
                raise Snooze(400)

        async with world.engine(queues=[queue], grace=0) as engine:
            for handler in (brief, flaky, doze, long):
                await engine.submit(handler)
            for named in (500, 9000):
                await engine.submit(brief.using(at=start + timedelta(seconds=named)))
            await engine.submit(brief.using(delay=500))
            await engine.submit(brief.using(delay=2000, deadline=1000))
            await engine.submit(brief.using(delay=2000, deadline=start + timedelta(seconds=1000)))
            moved = await engine.submit(brief.using(delay=900))
            for at, seconds in steps:
                await trio.sleep_until(at)
                world.step_clock(seconds)
            if crash_after:
                await trio.sleep(crash_after)
                world.crash()
                await engine.ready()
            await trio.sleep(300)
            with suppress(JourneymanError):  # it may have run
                await engine.reschedule(moved.id, at=world.now() + timedelta(seconds=600))
            await trio.sleep(20_000)
        world.save(folder / "jobs")

    simulate(scenario, faults=Faults.none())
    return folder / "jobs"


def sources(path: Path) -> list[str]:
    with open_journal(path) as view:
        ids = [event.task for _, event in view.events() if isinstance(event, TaskSubmitted)]
        courses = [course_of(view, id) for id in ids]
        return [source_of(course, Redaction()) for course in courses if course is not None]


def play(source: str) -> None:
    module: dict[str, Any] = {"__name__": "played"}
    exec(compile(source, "<test>", "exec"), module)
    module["test_it_happens_again"]()


@pytest.mark.parametrize("crash_after", [0, 10, 100])
@pytest.mark.parametrize(
    "steps",
    [
        *([(at, by)] for at in (50, 250, 600) for by in (-DAY, -2 * HOUR, -600, 600, 2 * HOUR, DAY)),
        [(50, -2000), (100, -2000)],
        [(300, 2 * HOUR), (400, -2 * HOUR)],
        [(60, -2 * HOUR), (700, 600)],
    ],
    ids=str,
)
def test_it_happens_again(tmp_path: Path, steps: list[tuple[float, float]], crash_after: float) -> None:
    written = sources(record(tmp_path, steps, crash_after))
    assert len(written) == 10
    for source in written:
        play(source)


def test_the_clock_is_set_where_the_task_goes_by_the_calendar(tmp_path: Path) -> None:
    written = sources(record(tmp_path, [(250, -2 * HOUR)], 0))
    for source in written:
        calendar = "at=datetime" in source or "until=datetime" in source or "deadline=datetime" in source
        assert ("world.step_clock(-7200)" in source) == calendar
    assert sum("step_clock" in source for source in written) == 5
    assert not any("sleep_until(-" in source or "sleep(-" in source for source in written)


def test_it_does_not_happen_again_without_the_step(tmp_path: Path) -> None:
    """A task that waited for an instant which a step forward passed begins when it did only if the clock is set."""
    stepped = [source for source in sources(record(tmp_path, [(250, DAY)], 0)) if "world.step_clock(86400)" in source]
    again = [source for source in stepped if "9000" not in source and "TaskRescheduled" not in source and "AttemptStarted" in source]
    assert again
    failed = 0
    for source in again:
        try:
            play(source.replace("world.step_clock(86400)", "pass"))
        except AssertionError:
            failed += 1
    assert failed


def step(at: int, by: int) -> ClockStepped:
    return ClockStepped(at, "", 0, 1, by)


def test_a_clock_that_nobody_sets() -> None:
    clock = Steady([(10, step(50, -50)), (20, step(1_070, 1_000))])  # at 100 back to 50; at 70, which is 120, on to 1070
    assert [(one.at, one.delta_us) for one in clock.steps] == [(100, -50), (120, 1_000)]
    assert [clock.ahead(seq) for seq in (1, 9, 11, 19, 21)] == [0, 0, -50, -50, 950]
    submitted = TaskSubmitted(60, "q", 1, 1, b"t" * 16, "h", 5, 65, 0, 0, b"", 0, None, None)
    assert clock.event(5, submitted) is submitted
    assert clock.event(15, submitted)[:1] == (110,)
    assert clock.event(15, submitted).due_at == 115  # type: ignore[attr-defined]
    assert clock.event(15, submitted._replace(due_kind=1)).due_at == 65  # type: ignore[attr-defined]


@pytest.mark.parametrize(("instant", "reached"), [(40, 50), (80, 80), (100, 100), (60, 60), (101, 120), (1_070, 120), (1_071, 121)])
def test_when_an_instant_of_the_calendar_came(instant: int, reached: int) -> None:
    clock = Steady([(10, step(50, -50)), (20, step(1_070, 1_000))])
    assert clock.reached(50, instant) == reached
    assert Steady().reached(50, instant) == max(50, instant)
