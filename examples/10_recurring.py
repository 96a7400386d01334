"""Recurring tasks: what a schedule would do over a change of the clock, and one that fires three times."""

from __future__ import annotations

from datetime import UTC, datetime

import trio

from journeyman import Context, Engine, Queue, fire_times

reports = Queue("reports")
fired = trio.Event()


@reports.handler
async def report(ctx: Context, what: str) -> None:
    count = (await ctx.engine.schedules())[0].fired
    print(f"{what}, fire {count}")
    if count == 3:
        fired.set()


async def main() -> None:
    eve = datetime(2026, 3, 28, 12, tzinfo=UTC)
    for time in fire_times(3, after=eve, cron="30 2 * * *", timezone="Europe/Oslo"):
        print("would fire", time)
    async with Engine(None, [reports]) as engine:
        for _ in range(2):  # as at each start of a program: the second says nothing new
            schedule = await engine.schedule("pulse", report, every=0.1, misfire="once", args=("alive",))
        print(schedule.name, schedule.spec, schedule.misfire, schedule.overlap)
        await fired.wait()
        await engine.unschedule("pulse")
        print(len(await engine.schedules()), "schedules left")


trio.run(main)

# Output:
# would fire 2026-03-29 03:00:00+02:00
# would fire 2026-03-30 02:30:00+02:00
# would fire 2026-03-31 02:30:00+02:00
# pulse every 0.1 s once skip
# alive, fire 1
# alive, fire 2
# alive, fire 3
# 0 schedules left
