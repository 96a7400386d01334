"""The recurrence of one queue: which schedule fires next, and having it fire.

Problem.  The kernel keeps what has been considered, not what comes next (kernel/schedule.py), for the calendar is not its own.
Choice: this
index holds the next fire time of every schedule, computed when the schedule is new or has changed and when the clock was moved; one heap
for those that go by the wall clock and one for those that go by kernel time, which may be apart by up to an hour (actors/clock.py).  The
queue's one alarm is set to the earlier of them, so nothing polls; once a minute, with the housekeeper, the alarm is set anew where the two
clocks have drifted.  A schedule that cannot fire in this process is in neither, and `trouble` says why.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, cast

from journeyman.actors.budget import with_room
from journeyman.actors.calendar import cron
from journeyman.actors.call import Call
from journeyman.actors.surroundings import around
from journeyman.actors.writer import Step
from journeyman.journal.errors import JournalError
from journeyman.kernel.bounds import SECOND_US
from journeyman.kernel.commands import Answer, Declare, Fire, Unschedule
from journeyman.kernel.decide import decide
from journeyman.kernel.events import Event, ScheduleFired
from journeyman.kernel.namespace import namespace_of, shown_name
from journeyman.kernel.recurring import why_not
from journeyman.kernel.schedule import MISFIRE, After, ScheduleState

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor
    from journeyman.actors.shell import Shell

_PATIENCE_US: Final = 60 * SECOND_US  # before a disk without room is tried again


def calendar_of(schedule: ScheduleState) -> After:
    """What the kernel asks for its cron fire times.  ImportError without cronsim, ValueError for a zone that is not there (any more)."""
    if not schedule.by_cron:
        return _never
    return cron(schedule.spec["cron"], schedule.spec["timezone"]).after


def _never(_: int) -> int | None:
    return None


class Recurrence:
    """For one queue.  `next`: fire time by schedule."""

    __slots__ = ("_actor", "_heaps", "_held_until", "next", "trouble")

    def __init__(self, actor: QueueActor) -> None:
        self._actor = actor
        self.next: dict[str, int] = {}
        self.trouble: dict[str, str] = {}
        self._heaps: tuple[list[tuple[int, str]], list[tuple[int, str]]] = ([], [])  # by kernel time, by the wall clock
        self._held_until = 0

    def rebuild(self) -> None:
        """Everything anew: another state, other handlers, a moved clock."""
        self.next.clear()
        self._heaps = ([], [])
        before, self.trouble = self.trouble, {}
        for name in self._actor.state.schedules:
            self.plan(name)
        for name, why in self.trouble.items():
            if before.get(name) != why:
                self._actor.shell.log.warning(
                    "schedule does not fire: %s", why, extra={"schedule": name, "queue": self._actor.name}
                )  # fmt: skip

    def plan(self, name: str) -> None:
        """This schedule has changed, or is gone."""
        self.next.pop(name, None)
        self.trouble.pop(name, None)
        schedule = self._actor.state.schedules.get(name)
        if schedule is None:
            return
        try:
            why = "its queue is not declared in this process" if self._actor.lane is None else None
            why = why or why_not(schedule, self._actor.runnables)
            fire_at = schedule.next_after(schedule.cursor, calendar_of(schedule))
        except (ImportError, ValueError) as error:
            self.trouble[name] = str(error)
            return
        if why is not None:
            self.trouble[name] = why
        elif fire_at is not None:
            self.next[name] = fire_at
            heappush(self._heaps[schedule.by_cron], (fire_at, name))

    def _first(self, heap: list[tuple[int, str]]) -> tuple[int, str] | None:
        while heap and self.next.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0] if heap else None

    def _due(self, now: int, wall: int) -> str | None:
        for heap, clock in zip(self._heaps, (now, wall), strict=True):
            first = self._first(heap)
            if first is not None and first[0] <= clock:
                return first[1]
        return None

    def moving(self, now: int) -> bool:
        """Whether a fire is due that the queue has not looked at yet."""
        shell = self._actor.shell
        return not shell.stopping and now >= self._held_until and self._due(now, shell.clock.wall()) is not None

    def or_sooner(self, wake_at: int | None, now: int) -> int | None:
        """`wake_at`, or the instant of kernel time at which the next fire time comes if that is earlier."""
        if self._actor.shell.stopping:
            return wake_at  # nothing will be decided any more
        kernel, walls = map(self._first, self._heaps)
        instants = [] if wake_at is None else [wake_at]
        if kernel is not None:
            instants.append(max(kernel[0], self._held_until))
        if walls is not None:
            instants.append(max(walls[0] - (self._actor.shell.clock.wall() - now), self._held_until))
        return min(instants, default=None)

    def fire(self, now: int, step: Step) -> None:
        """Decide and apply what is due.  Inside a step of the queue."""
        actor, shell = self._actor, self._actor.shell
        if shell.stopping or now < self._held_until:
            return
        wall = shell.clock.wall()
        while (name := self._due(now, wall)) is not None:
            if self._tight():  # as if the engine were closed: later, what was missed is decided
                self._held_until = now + _PATIENCE_US
                shell.log.warning("no room on the disk: schedules wait", extra={"queue": actor.name})
                return
            schedule = actor.state.schedules[name]
            command = Fire(name, wall, shell.mint(now), calendar_of(schedule))
            events = decide(actor.state, [command], now, with_room(around(actor), actor.budget)).events
            if events:
                payload = schedule.spec["payload"]
                for event in events:
                    actor.recorder.take_fired(cast("Any", event), payload, step)
                    self._tell(name, event)
            self.plan(name)
            if not events:
                self.next.pop(name, None)  # nothing came of it, so nothing would the next time

    def _tight(self) -> bool:
        """Whether the disk has no room for another task.  A disk that cannot even be asked fails the next commit."""
        try:
            return self._actor.shell.room.refuse(0) is not None
        except (OSError, JournalError):
            return True

    def _tell(self, name: str, event: Event) -> None:
        if type(event) is not ScheduleFired:
            return
        extra = {"schedule": name, "queue": self._actor.name, "fire_at": event.fire_at}
        if event.submitted is None and event.reason != MISFIRE and event.reason != "overlap":
            self._actor.shell.log.warning("schedule fired, but no task came of it: %s", event.reason, extra=extra)
        elif event.missed or event.reason == MISFIRE:
            count = event.missed + (event.reason == MISFIRE)
            self._actor.shell.log.warning("schedule missed %d fire times or more", count, extra=extra)


def holder(shell: Shell, name: str, namespace: str = "") -> QueueActor | None:
    """The queue that the schedule of this name belongs to; names are unique in a namespace, of which the owner's is ""."""
    found = (actor for actor in shell.actors.values() if name in actor.state.schedules)
    return next((actor for actor in found if namespace_of(actor.name) == namespace), None)


def declare(shell: Shell, actor: QueueActor, command: Declare) -> Call[Answer]:
    """Declare a schedule of `actor`'s queue; one of that name in another queue goes, in the same commit.  One synchronous step."""
    now = shell.now()
    step = Step()
    mark = shell.mark()
    call: Call[Answer] = Call()
    old = holder(shell, command.name, namespace_of(actor.name))
    touched = [actor] if old is None or old is actor else [actor, old]
    try:
        call.answer = actor.decide_apply(command, now, step)
        if len(touched) > 1:
            assert old is not None
            old.decide_apply(Unschedule(command.name, command.by, f"declared on queue {shown_name(actor.name)!r}"), now, step)
    except Exception as error:  # a bug, half applied: nothing was handed over, and every queue it reached is read anew
        shell.back_to(mark)
        for each in touched:
            each.crash(error)
        raise
    for each in touched:
        each.wake()
    step.effects.append((Call.settle, call))
    shell.writer.record(step)
    shell.recorded()
    return call


__all__ = ["Recurrence", "calendar_of", "declare", "holder"]
