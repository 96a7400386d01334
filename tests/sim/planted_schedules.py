"""Bugs planted into recurring tasks (tests/sim/planted.py)."""

from __future__ import annotations

from journeyman.actors import queue_actor
from journeyman.kernel import recurring, schedule, state
from tests.sim import workloads
from tests.sim.bug import Bug

SCHEDULES = (
    Bug(
        "a fire time forgets that it was taken",
        ((schedule.ScheduleState.take, "if not self.by_cron:", "if True:"),),
        seed=0,
        run=workloads.recurring,
    ),
    Bug(
        "a clock set back silences a schedule",
        ((schedule.schedules_stepped, "schedule.cursor = min(schedule.cursor, at)", "pass"),),
        seed=0,
        run=workloads.recurring,
    ),
    Bug(
        "every is not moved with the clock",
        ((schedule.schedules_stepped, "schedule.cursor += delta_us", "schedule.cursor += 0"),),
        seed=100,
    ),
    Bug("overlap ignored", ((recurring.fire, 'schedule.spec["overlap"] == "skip"', "False"),), seed=69),
    Bug("a missed fire is made up for unasked", ((recurring.fire, "clock - instants[0] > SCHEDULE_GRACE_US", "False"),), seed=102),
    Bug(
        "schedules forgotten by a checkpoint",
        ((state.QueueState.merge_facts, 'facts.get("schedules_seq", 0) >= self.schedules_seq', "False"),),
        seed=0,
        run=workloads.recurring,
    ),
    Bug(
        "the oldest fires in place of the newest",
        ((schedule.ScheduleState.newest, "following is None or following > now", "True"),),
        seed=77,
    ),
    Bug(
        "a schedule misses its alarm",
        ((queue_actor.QueueActor.step, "self.recurrence.or_sooner(wake_at, now) if state.schedules else wake_at", "wake_at"),),
        seed=0,
        run=workloads.recurring,
    ),
)
