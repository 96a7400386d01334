"""Schedules: each fire time once, never early, not much late, and what is missed or overlaps as it was declared."""

from __future__ import annotations

from typing import Any, Final

from journeyman.engine.ids import id_text
from journeyman.engine.schedule import Schedule
from journeyman.kernel.bounds import SCHEDULE_ALL_MAX, SCHEDULE_COUNT_MAX, SCHEDULE_GRACE_US, SCHEDULE_RUNS_MAX
from journeyman.kernel.namespace import namespace_of
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work
from journeyman.sim.timetable import Entry

LATE_US: Final = 62_000_000  # after a step of the clock fires may be a minute late (DECISIONS 1)
EXACT_US: Final = 1_000_000


class Recurring(Invariant):
    """What these have in common."""

    def entry(self, event: Any) -> Entry | None:
        return self.oracle.timetable.get((event.queue, event.name))


class FiresOnce(Recurring):
    """A fire time of a schedule comes to one task at most, over crashes, restarts and clocks that are set back; the task and the record
    of the fire are in one commit.
    """

    name = "no fire time twice"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._made: dict[bytes, list[Any]] = {}  # in this commit

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        if event.options is not None and "schedule" in event.options:
            if not self._made:
                self.witness.afterwards.append(self._look)
            self._made[event.task] = list(event.options["schedule"])

    def schedule_fired(self, seq: int, event: Any, work: Work | None) -> None:
        entry = self.entry(event)
        if entry is None:
            self.broken(f"{event.name!r} fires at seq {seq} and is not declared")
            return
        if event.fire_at in entry.over or (entry.spec["every_us"] is not None and event.fire_at <= entry.cursor):
            self.broken(f"{event.name!r} fires at seq {seq} for {event.fire_at}, which was over")
        if event.submitted is not None and self._made.pop(event.submitted, None) != [event.name, event.fire_at]:
            self.broken(f"{event.name!r} says at seq {seq} that it submitted a task, which is not in the same commit")

    def _look(self) -> None:
        if self._made:
            self.broken(f"tasks of schedules without the record of their fire: {list(self._made.values())}")


class FiresAtItsTimes(Recurring):
    """A schedule fires at instants that its expression or its distance names, never before they have come, and passes none over unsaid."""

    name = "fires at its times, never early"

    def schedule_fired(self, seq: int, event: Any, work: Work | None) -> None:
        entry = self.entry(event)
        if entry is None:
            return
        what = f"{event.name!r} at seq {seq}, for {event.fire_at},"
        if entry.readable and not entry.is_time(event.fire_at):
            self.broken(f"{what} fires at an instant that is none of its times")
        clock = event.fire_at + event.late_us
        if event.late_us < 0 or (entry.spec["every_us"] is not None and clock != event.at):
            self.broken(f"{what} is {event.late_us} us late")
        if entry.vague or entry.gaps >= SCHEDULE_RUNS_MAX:
            return
        passed = len(entry.times(entry.cursor, event.fire_at - 1))
        counted = min(passed, SCHEDULE_COUNT_MAX) if entry.spec["cron"] is not None else passed
        if passed < 3_000 and event.missed != counted:
            self.broken(f"{what} says that it passed {event.missed} over, and there are {passed}")
        if entry.spec["misfire"] != "all" and entry.times(event.fire_at, clock):
            self.broken(f"{what} is not the newest that is due")
        self.witness.reach("a fire time passed over", event.missed)


class MisfiresAsPromised(Recurring):
    """Of what was missed, nothing fires with "skip", the newest with "once", and each, up to the bound, with "all"."""

    name = "misfires as promised"

    def schedule_fired(self, seq: int, event: Any, work: Work | None) -> None:
        entry = self.entry(event)
        if entry is None:
            return
        misfire, late = entry.spec["misfire"], event.late_us > SCHEDULE_GRACE_US
        if (event.reason == "misfire") is not (misfire == "skip" and late):
            self.broken(f"{event.name!r} with misfire={misfire!r}, {event.late_us} us late, at seq {seq}: {event.reason or 'it fired'}")
        if misfire == "all" and event.missed and not entry.vague and entry.gaps < SCHEDULE_RUNS_MAX:
            due = len(entry.times(entry.cursor, event.fire_at + event.late_us))
            if due <= SCHEDULE_ALL_MAX:
                self.broken(f"{event.name!r} with misfire='all' passed {event.missed} over at seq {seq}, of {due}")
        if event.reason == "misfire":
            self.witness.reach("a fire was missed")
        elif late and event.submitted is not None:
            self.witness.reach("a missed fire was made up for")


class OverlapAsPromised(Recurring):
    """With overlap="skip" no task is submitted while one of the same schedule is unfinished, and only then is a fire skipped for it."""

    name = "overlap as promised"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._made: dict[tuple[str, str], dict[bytes, None]] = {}  # by queue and schedule; ended ones leave when they are met

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        if event.options is not None and "schedule" in event.options:
            self._made.setdefault((event.queue, event.options["schedule"][0]), {})[event.task] = None

    def retried(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and "schedule" in work.options:
            self._made.setdefault((event.queue, work.options["schedule"][0]), {})[event.task] = None

    def _unfinished(self, event: Any) -> list[Work]:
        known = self._made.get((event.queue, event.name), {})
        for id in [id for id in known if (work := self.oracle.tasks.get(id)) is None or work.ended]:
            del known[id]
        return [self.oracle.tasks[id] for id in known if id != event.submitted]

    def schedule_fired(self, seq: int, event: Any, work: Work | None) -> None:
        entry = self.entry(event)
        if entry is None or event.reason == "misfire":
            return
        others = self._unfinished(event)
        if entry.spec["overlap"] == "skip" and event.submitted is not None and others:
            self.broken(f"{event.name!r} submits a task at seq {seq} while {others[0]} is unfinished")
        if event.reason == "overlap":
            self.witness.reach("a fire overlapped")
            if not others or entry.spec["overlap"] != "skip":
                self.broken(f"{event.name!r} is skipped at seq {seq} for an overlap that there is not")
        if event.reason == "max_pending":
            self.witness.reach("a fire found its queue full")


class FiresPromptly(Recurring):
    """What is due fires at once where the engine has been up for a minute, undisturbed, with the queue declared."""

    name = "what is due fires"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._since: dict[str, int] = {}

    def opened(self, seq: int, event: Any, work: Work | None) -> None:
        self._since[event.queue] = event.at

    def schedule_declared(self, seq: int, event: Any, work: Work | None) -> None:
        self._since[event.queue] = event.at

    def clock_stepped(self, seq: int, event: Any, work: Work | None) -> None:
        self._since = {queue: at + event.delta_us for queue, at in self._since.items()}

    def schedule_fired(self, seq: int, event: Any, work: Work | None) -> None:
        self._check(event, event.late_us, f"{event.name!r} fires at seq {seq}, {event.late_us / 1e6:g} s late")

    def schedule_removed(self, seq: int, event: Any, work: Work | None) -> None:
        entry, shell = self.entry(event), self.witness.shell
        if entry is None or shell is None or entry.vague or entry.gaps >= SCHEDULE_RUNS_MAX:
            return
        if entry.spec["handler"] not in shell.actors[event.queue].runnables or shell.stopping:
            return
        clock = shell.clock.wall() if entry.spec["cron"] is not None else event.at
        overdue = entry.times(entry.cursor, clock - LATE_US)
        if overdue:
            self._check(event, clock - overdue[0], f"{event.name!r} is removed at seq {seq}, and should have fired for {overdue[0]}")

    def _check(self, event: Any, late_us: int, what: str) -> None:
        witness = self.witness
        drifted_us = abs(witness.world.faults.clock_drift) * LATE_US / 1e6  # between two looks of the engine at the clock
        if late_us < EXACT_US + drifted_us or witness.world.dice.struck["disk_full"]:
            return
        if witness.quiet_seconds() * 1e6 > LATE_US and event.at - self._since.get(event.queue, 0) > LATE_US:
            self.broken(what)


class SchedulesAgree(Recurring):
    """`schedule` and `unschedule` are durable when they return, and `schedules()` tells what is durable."""

    name = "schedules() agrees with the journal"
    calls = frozenset({"schedule", "unschedule", "schedules"})

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if error is not None or not self.witness.alone(asked) or not asked.alone:
            return
        table = {
            shown: entry for (queue, name), entry in self.oracle.timetable.items() if (shown := _shown(asked, queue, name)) is not None
        }
        if asked.name == "schedule" and not any(name == asked.value("name", 0) for _, name in table):
            self.broken(f"schedule {asked.value('name', 0)!r} was acknowledged and is not in the journal")
        if asked.name == "unschedule" and any(name == asked.value("name", 0) for _, name in table):
            self.broken(f"unschedule of {asked.value('name', 0)!r} was acknowledged and is not in the journal")
        if asked.name == "schedules" and all(entry.seq <= asked.seq for entry in table.values()):
            self._compare(answer, table)

    def _compare(self, answer: list[Schedule], table: dict[tuple[str, str], Entry]) -> None:
        """`table`: what is declared, as the one who asked would see it."""
        told = {(one.queue, one.name): one for one in answer}
        if told.keys() != table.keys():
            self.broken(f"schedules() tells of {sorted(told)}, declared are {sorted(table)}")
            return
        for key, entry in table.items():
            one = told[key]
            mine = (entry.fired, entry.last_task and id_text(entry.last_task), entry.skipped and entry.skipped[1], entry.spec["misfire"])
            if (one.fired, one.last_task, one.skipped, one.misfire) != mine:
                self.broken(f"schedules() shows {one}, durable is {mine}")


def _shown(asked: Any, queue: str, name: str) -> tuple[str, str] | None:
    """Queue and name of a schedule as the one who asked sees them; None for one that is not for their eyes."""
    called, namespace = asked.called(queue), namespace_of(queue)
    if called is None:
        return None
    return called, f"{namespace}/{name}" if namespace and not asked.namespace else name


__all__ = ["FiresAtItsTimes", "FiresOnce", "FiresPromptly", "MisfiresAsPromised", "OverlapAsPromised", "SchedulesAgree"]
