"""tingly-box's task package: recurring tasks, a reserved field first, added later."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import trio

from journeyman import Context, Queue
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_b_recurrence(world: World) -> None:
    """B, reserved fields: Recurrence is there and unused; a cron of five fields in an IANA zone came later.

    Better: schedule(cron=, timezone=) or every=; arguments, options and results as for any other task.
    """
    queue, runs = Queue("q"), []

    @queue.handler
    async def report(ctx: Context, name: str) -> None:
        runs.append((name, ctx.now().astimezone(ZoneInfo("Europe/Oslo"))))

    async with world.engine(queues=[queue]) as engine:
        await engine.schedule("nightly", report, cron="0 3 * * 1-5", timezone="Europe/Oslo", args=("night",))
        await engine.schedule("often", report.using(tags=("often",)), every=21_600, args=("six hours",))
        await world.advance(days=7, seconds=1)
        nights = [at for name, at in runs if name == "night"]
        assert [(at.hour, at.minute, at.isoweekday() <= 5) for at in nights] == [(3, 0, True)] * 5
        assert sum(name == "six hours" for name, _ in runs) == 28
        await engine.unschedule("often")
        await engine.unschedule("nightly")
        runs.clear()
        await world.advance(days=2)
        assert runs == []


@simulated
async def test_b_a_pause_is_followed_by_no_burst(world: World) -> None:
    """B, asked for: a recurring task that was paused, or not looked at for a while, fired once for every tick that it had missed.

    Mended: what was missed is skipped; misfire="once" makes one of it, "all" each.
    """
    runs: dict[str, int] = {"skip": 0, "once": 0, "all": 0}
    queue = Queue("q", concurrency=9)

    @queue.handler
    async def work(kind: str) -> None:
        runs[kind] += 1

    async with world.engine(queues=[queue]) as engine:
        for kind in runs:
            await engine.schedule(kind, work, cron="0 * * * *", misfire=kind, args=(kind,))
        await world.advance(hours=3.5)
    assert runs == {"skip": 3, "once": 3, "all": 3}
    await world.advance(hours=10)
    async with world.engine(queues=[queue]) as engine:
        await world.advance(seconds=10)
    assert runs == {"skip": 3, "once": 4, "all": 13}


@simulated
async def test_b_a_run_that_takes_longer_than_its_interval(world: World) -> None:
    """B, asked for: a run that is not over when the next one is due.

    Better: overlap="skip", which is the default, leaves the next one out; "allow" has both.
    """
    queue, inside, most = Queue("q", concurrency=9), {"skip": 0, "allow": 0}, {"skip": 0, "allow": 0}

    @queue.handler
    async def work(kind: str) -> None:
        inside[kind] += 1
        most[kind] = max(most[kind], inside[kind])
        await trio.sleep(150)
        inside[kind] -= 1

    async with world.engine(queues=[queue]) as engine:
        for kind in inside:
            await engine.schedule(kind, work, every=60, overlap=kind, args=(kind,))
        await world.advance(minutes=20)
    assert most == {"skip": 1, "allow": 3}


@simulated
async def test_b_never_twice(world: World) -> None:
    """B, restart: what recurs is put in by a loop that remembers nothing, so that a restart or a clock that is set back repeats it.

    Mended: a fire is known by its name and its time, and happens once, whatever crashes and however the clock is set.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        world.effects.append(world.time())

    async with world.engine(queues=[queue]) as engine:
        await engine.schedule("hourly", work, cron="0 * * * *")
        await world.advance(minutes=60, seconds=1)
        for _ in range(5):
            await world.crash()
            await engine.ready()
            await engine.schedule("hourly", work, cron="0 * * * *")
            world.step_clock(-20)
            await world.advance(seconds=30)
        assert len(world.effects) == 1
        tasks = await engine.list(handler="work")
        assert len({task.id for task in tasks}) == 1
    assert datetime(2030, 1, 1, 1, tzinfo=UTC) == tasks[0].due_at
