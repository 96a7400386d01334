"""Schedules: declared, fired once, fired late, kept apart, through clocks that step and through summaries of what happened."""

from __future__ import annotations

from typing import Any

import pytest

from journeyman.kernel.bounds import SCHEDULE_ALL_MAX, SCHEDULE_COUNT_MAX, SCHEDULE_GRACE_US, SCHEDULE_RUNS_MAX
from journeyman.kernel.commands import Accepted, Cancel, Declare, Env, Fire, Pause, Retry, Unschedule
from journeyman.kernel.events import ClockStepped, ScheduleDeclared, ScheduleFired, ScheduleRemoved, TaskSubmitted
from journeyman.kernel.policy import Policy
from journeyman.kernel.schedule import ScheduleState
from journeyman.kernel.state import QueueState
from journeyman.kernel.world import JournalState, fold
from tests.kernel.lane import FREE, SECOND, Lane, tid

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
SEED = bytes.fromhex("01890a5dac96774bbcceb302099a8057")


def minutely(t: int) -> int | None:
    """Stands for a cron expression: every full minute."""
    return (t // MINUTE + 1) * MINUTE


def spec(*, cron: str | None = "* * * * *", every: int | None = None, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "cron": None if every is not None else cron, "every_us": every, "timezone": "UTC", "start_at": None, "end_at": None,
        "handler": "send",
        "priority": 5, "deadline_us": None, "options": None, "misfire": "skip", "overlap": "allow", "payload": b"xyz", "digest": b"d" * 16,
    }  # fmt: skip
    return {**plain, **changes}


class Clockwork(Lane):
    """A lane with schedules; the wall clock agrees with kernel time unless told otherwise."""

    def declare(self, name: str = "s", *, at: int | None = None, wall: int | None = None, **facts: Any) -> Clockwork:
        now = self.now if at is None else at
        self.when(Declare(name, spec(**facts), "me", now if wall is None else wall), at=at)
        return self

    def fire(self, at: int, name: str = "s", *, wall: int | None = None, env: Env = FREE, cron: Any = minutely) -> list[tuple[int, str]]:
        """What comes of it: (fire time, why not)."""
        self.when(Fire(name, at if wall is None else wall, SEED[:8] + at.to_bytes(8, "big"), cron), at=at, env=env)
        return [(event.fire_at, event.reason) for event in self.last if isinstance(event, ScheduleFired)]

    def step_clock(self, delta: int) -> None:
        """As ClockStepped does it."""
        world = JournalState()
        world.queues[self.state.name] = self.state
        self.now += delta
        fold(world, ClockStepped(self.now, "", 0, 1, delta), len(self.journal))

    @property
    def event_fired(self) -> ScheduleFired:
        """The first fire of the last step."""
        return next(event for event in self.last if isinstance(event, ScheduleFired))

    @property
    def schedule(self) -> ScheduleState:
        return self.state.schedules["s"]


def lane(**policy: Any) -> Clockwork:
    return Clockwork(Policy(**policy), now=HOUR)


# --- declaring -----------------------------------------------------------------------------------------------------------------


def test_a_schedule_is_declared_once_and_changed_by_an_event() -> None:  # row 70
    clock = lane()
    clock.declare().then(ScheduleDeclared)
    assert clock.fire(HOUR + MINUTE) == [(HOUR + MINUTE, "")]
    clock.declare(at=HOUR + MINUTE + 5).then()
    assert clock.answers == [Accepted(existing=True)]
    clock.declare(misfire="all").then(ScheduleDeclared)
    assert clock.schedule.cursor == HOUR + MINUTE, "another task to fire: the fire times go on"
    clock.declare(every=7 * SECOND, at=2 * HOUR).then(ScheduleDeclared)
    assert (clock.schedule.cursor, clock.schedule.anchor, clock.schedule.fired) == (2 * HOUR, 2 * HOUR, 1)
    clock.when(Unschedule("s", "me")).then(ScheduleRemoved).when(Unschedule("s", "me")).then().refused("ScheduleNotFound")
    assert clock.fire(3 * HOUR) == []


def test_every_counts_from_its_anchor_without_drift() -> None:  # row 70
    clock = lane().declare(every=10 * SECOND)
    assert clock.fire(HOUR + 10 * SECOND - 1) == []
    assert clock.fire(HOUR + 10 * SECOND + 3) == [(HOUR + 10 * SECOND, "")]
    assert clock.last[-1].late_us == 3  # type: ignore[union-attr]
    assert clock.fire(HOUR + 20 * SECOND) == [(HOUR + 20 * SECOND, "")], "the lateness of one fire is not that of the next"


def test_start_and_end_are_part_of_it() -> None:  # row 70
    clock = lane().declare(every=10 * SECOND, start_at=HOUR + 3 * SECOND, end_at=HOUR + 23 * SECOND)
    assert clock.fire(HOUR + 3 * SECOND - 1) == []
    assert clock.fire(HOUR + 3 * SECOND) == [(HOUR + 3 * SECOND, "")]
    assert clock.fire(HOUR + 13 * SECOND) == [(HOUR + 13 * SECOND, "")]
    assert clock.fire(HOUR + 23 * SECOND) == [(HOUR + 23 * SECOND, "")]
    assert clock.fire(9 * HOUR) == []


def test_the_task_is_submitted_in_the_same_decision_and_says_where_it_comes_from() -> None:  # row 70
    clock = lane().declare(options={"tags": ["nightly"]}, deadline_us=9 * SECOND, priority=20)
    clock.fire(HOUR + MINUTE)
    clock.then(TaskSubmitted, ScheduleFired)
    submitted, fired = clock.last
    assert isinstance(submitted, TaskSubmitted)
    assert submitted.options == {
        "tags": ["nightly"],
        "schedule": ["s", HOUR + MINUTE],
        "deadline_at": HOUR + MINUTE + 9 * SECOND,
        "deadline_kind": 0,
    }
    assert (submitted.priority, submitted.due_at, submitted.payload_len) == (20, clock.now, 3)
    assert isinstance(fired, ScheduleFired)
    assert fired.submitted == submitted.task
    assert (clock.schedule.last_at, clock.schedule.last_task, clock.schedule.fired) == (HOUR + MINUTE, submitted.task, 1)


# --- misfires --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [0, 1, SCHEDULE_GRACE_US])
def test_a_minute_late_is_on_time(late: int) -> None:  # row 70
    clock = lane().declare(every=HOUR)
    assert clock.fire(2 * HOUR + late) == [(2 * HOUR, "")]


def test_later_is_missed() -> None:  # row 70
    clock = lane().declare(every=HOUR)
    assert clock.fire(2 * HOUR + SCHEDULE_GRACE_US + 1) == [(2 * HOUR, "misfire")]
    assert (clock.schedule.skipped_at, clock.schedule.skipped_why, clock.schedule.fired) == (2 * HOUR, "misfire", 0)
    assert clock.fire(3 * HOUR) == [(3 * HOUR, "")]


@pytest.mark.parametrize("facts", [{}, {"every": MINUTE}])
def test_downtime(facts: dict[str, Any]) -> None:  # row 70
    up = HOUR + 10 * MINUTE + 30 * SECOND
    skip = lane().declare(**facts)
    assert skip.fire(up) == [(HOUR + 10 * MINUTE, "")], "the newest is on time"
    assert skip.event_fired.missed == 9
    once = lane().declare(misfire="once", every=3 * MINUTE)
    assert once.fire(up + MINUTE) == [(HOUR + 9 * MINUTE, "")]
    assert once.event_fired.missed == 2
    every = lane().declare(misfire="all", **facts)
    assert every.fire(up) == [(HOUR + n * MINUTE, "") for n in range(1, 11)]
    assert len(every.state.tasks) == 10
    assert every.fire(up) == []


@pytest.mark.parametrize("facts", [{}, {"every": MINUTE}])
def test_years_of_downtime_cost_little_and_all_has_a_bound(facts: dict[str, Any]) -> None:  # row 70
    calls = [0]

    def counted(t: int) -> int | None:
        calls[0] += 1
        return minutely(t)

    up = HOUR + 10 * 365 * 24 * HOUR
    for misfire in ("skip", "once"):
        clock = lane().declare(misfire=misfire, **facts)
        assert clock.fire(up, cron=counted) == [(up, "")]
        assert clock.event_fired.missed >= SCHEDULE_COUNT_MAX
    clock = lane().declare(misfire="all", **facts)
    clock.checked = False
    assert clock.fire(up, cron=counted) == [(up - n * MINUTE, "") for n in range(SCHEDULE_ALL_MAX - 1, -1, -1)]
    assert calls[0] < 10 * SCHEDULE_ALL_MAX
    assert len(set(clock.state.tasks)) == SCHEDULE_ALL_MAX


# --- overlap, room, pause, handlers ----------------------------------------------------------------------------------------------


def test_overlap_skip_waits_for_no_unfinished_task() -> None:  # row 70
    clock = lane(attempts=2).declare(overlap="skip")
    assert clock.fire(HOUR + MINUTE) == [(HOUR + MINUTE, "")]
    first = clock.schedule.last_task
    assert first is not None
    assert clock.fire(HOUR + 2 * MINUTE) == [(HOUR + 2 * MINUTE, "overlap")]
    clock.when(Cancel(first, "", "me"))
    assert clock.fire(HOUR + 3 * MINUTE) == [(HOUR + 3 * MINUTE, "")]
    second = clock.schedule.last_task
    assert second is not None
    clock.when(Cancel(second, "", "me")).when(Retry(first, "", "me"))
    assert clock.fire(HOUR + 4 * MINUTE) == [(HOUR + 4 * MINUTE, "overlap")], "an older one was revived by hand"
    clock.declare(overlap="allow")
    assert clock.fire(HOUR + 5 * MINUTE) == [(HOUR + 5 * MINUTE, "")]


def test_all_and_overlap_skip_fire_the_oldest() -> None:  # row 70
    clock = lane().declare(misfire="all", overlap="skip")
    assert clock.fire(HOUR + 3 * MINUTE) == [(HOUR + MINUTE, ""), (HOUR + 2 * MINUTE, "overlap"), (HOUR + 3 * MINUTE, "overlap")]


def test_a_full_queue_uses_the_fire_time_up() -> None:  # row 70
    clock = lane(max_pending=1).declare()
    assert clock.fire(HOUR + MINUTE) == [(HOUR + MINUTE, "")]
    assert clock.fire(HOUR + 2 * MINUTE) == [(HOUR + 2 * MINUTE, "max_pending")]
    assert clock.schedule.skipped_why == "max_pending"
    full = lane(max_pending=0).declare(misfire="all", overlap="skip")
    assert full.fire(HOUR + 2 * MINUTE) == [(HOUR + MINUTE, "max_pending"), (HOUR + 2 * MINUTE, "max_pending")], "there is no overlap"


def test_a_paused_queue_takes_tasks_in() -> None:  # row 70
    clock = lane().declare()
    clock.when(Pause("me"))
    assert clock.fire(HOUR + MINUTE) == [(HOUR + MINUTE, "")]
    clock.start()


def test_without_its_handler_it_is_left_alone() -> None:  # row 70
    clock = lane().declare()
    assert clock.fire(HOUR + MINUTE, env=Env(handlers={"other"})) == []
    assert clock.fire(HOUR + MINUTE, env=Env(stopping=True)) == []
    assert clock.fire(HOUR + 2 * MINUTE, env=Env(handlers={"send"})) == [(HOUR + 2 * MINUTE, "")]
    assert clock.event_fired.missed == 1


# --- clocks ----------------------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_fires_no_cron_time_twice() -> None:  # row 70
    clock = lane().declare()
    for n in range(1, 181):
        assert clock.fire(HOUR + n * MINUTE) == [(HOUR + n * MINUTE, "")]
    clock.step_clock(-2 * HOUR)
    clock.checked = False
    fired = [clock.fire(2 * HOUR + n * MINUTE) for n in range(1, 125)]
    assert [each for each in fired if each] == [[(4 * HOUR + n * MINUTE, "")] for n in range(1, 5)]


def test_what_an_error_of_the_clock_skipped_still_fires() -> None:  # row 70
    clock = lane().declare()
    assert clock.fire(HOUR + MINUTE) == [(HOUR + MINUTE, "")]
    clock.step_clock(8 * HOUR)
    clock.checked = False
    assert clock.fire(9 * HOUR + 2 * MINUTE) == [(9 * HOUR + 2 * MINUTE, "")]
    assert clock.fire(9 * HOUR + 3 * MINUTE) == [(9 * HOUR + 3 * MINUTE, "")]
    clock.step_clock(-8 * HOUR)
    fired = [fire_at for n in range(3, 500) for fire_at, _ in clock.fire(HOUR + n * MINUTE)]
    taken = {HOUR + MINUTE, 9 * HOUR + 2 * MINUTE, 9 * HOUR + 3 * MINUTE}
    assert fired == [at for n in range(4, 500) if (at := HOUR + n * MINUTE) not in taken]


def test_runs_are_bounded_and_forget_on_the_safe_side() -> None:
    clock = lane().declare()
    clock.checked = False
    for n in range(1, 200, 3):
        clock.fire(HOUR + n * MINUTE)
    assert len(clock.schedule.runs) == SCHEDULE_RUNS_MAX
    before = {at for first, last in clock.schedule.runs for at in (first, last)}
    clock.step_clock(-3 * HOUR)
    fired = [fire_at for n in range(1, 400) for fire_at, _ in clock.fire(clock.now + MINUTE)]
    assert len(fired) == len(set(fired))
    assert not before & set(fired)


@pytest.mark.parametrize("delta", [-2 * HOUR, 2 * HOUR, -5 * HOUR])
def test_every_is_a_distance_that_no_step_changes(delta: int) -> None:  # row 70
    clock = lane().declare(every=10 * MINUTE, at=6 * HOUR)
    clock.fire(6 * HOUR + 10 * MINUTE)
    clock.now += 4 * MINUTE
    clock.step_clock(delta)
    clock.checked = False
    assert clock.fire(clock.now + 6 * MINUTE - 1) == []
    assert clock.fire(clock.now + 1) == [(6 * HOUR + 20 * MINUTE + delta, "")]


def test_every_that_has_not_begun_begins_at_its_instant() -> None:  # row 70
    clock = lane().declare(every=10 * MINUTE, start_at=5 * HOUR)
    clock.step_clock(2 * HOUR)
    clock.checked = False
    assert clock.fire(5 * HOUR - 1) == []
    assert clock.fire(5 * HOUR) == [(5 * HOUR, "")]


def test_cron_goes_by_the_wall_and_every_by_kernel_time() -> None:
    clock = lane().declare().declare("t", every=MINUTE)
    assert clock.fire(HOUR + MINUTE, wall=HOUR + MINUTE - 1) == []
    assert clock.fire(HOUR + MINUTE, "t", wall=HOUR + MINUTE - 1) == [(HOUR + MINUTE, "")]
    assert clock.fire(HOUR + MINUTE + 1, wall=HOUR + 2 * MINUTE) == [(HOUR + 2 * MINUTE, "")]


# --- what is stored --------------------------------------------------------------------------------------------------------------


def test_facts_bring_everything_back() -> None:
    clock = lane(attempts=2).declare(overlap="skip")
    clock.fire(HOUR + MINUTE)
    clock.fire(HOUR + 2 * MINUTE)
    again = QueueState("q")
    again.merge_facts(clock.state.facts())
    assert again.facts() == clock.state.facts()
    for task in clock.state.tasks.values():
        again.adopt(task)
    again.rebuild()
    assert again.has_unfinished("s")
    younger = again.facts()
    again.merge_facts({**younger, "schedules": [], "schedules_seq": younger["schedules_seq"] - 1})
    assert again.facts() == younger, "older facts change nothing"
    old = {name: value for name, value in younger.items() if not name.startswith("schedules")}
    fresh = QueueState("q")
    fresh.merge_facts(old)  # written before there were schedules
    assert fresh.schedules == {}


def test_a_fire_of_a_schedule_that_is_gone_changes_nothing() -> None:
    clock = lane()
    clock.given(ScheduleFired(HOUR, "q", clock.state.qseq + 1, 1, "gone", HOUR, tid(9), 0, 0, ""))
    assert clock.state.schedules == {}


def test_ids_differ_and_repeat() -> None:
    clock = lane().declare(misfire="all")
    command = Fire("s", HOUR + 5 * MINUTE, SEED, minutely)
    one, two = (clock.proposed(command, at=HOUR + 5 * MINUTE).events for _ in range(2))
    assert one == two
    ids = [event.task for event in one if isinstance(event, TaskSubmitted)]
    assert ids[0] == SEED
    assert len(set(ids)) == 5
    assert {(id[:6], id[6] >> 4, id[8] >> 6) for id in ids} == {(SEED[:6], 7, 2)}
