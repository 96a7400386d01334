"""The script of a recorded course: what the outside world does in a simulation, and when, so that the course happens again.

Problem.  A run begins when nothing stands in its way, and most of what stood there (other tasks, a machine that was slow) is not in the
test. Choice: where the journal shows that a run waited noticeably, the script pauses the queue for as long, unless those who were in
the way take part; smaller waits are left out, and the simulated clock runs ahead of the recorded one by their sum (`_ahead`).
Everything else follows from the policy, the id (which decides the jitter) and the handler's durations, so every simulated instant is
known here beforehand.

A crash is put so shortly before the boot that found it as half the shortest run that was lost allows: the journal says when a loss was
noticed, not when the process died.  It died within the run's time-out, or that would have struck: where it was away for longer, the
simulated clock runs ahead of the recorded one by the rest.

Where the clock was set while a task waited for an instant of the calendar, the script sets it too, and holds the task until it began: an
engine sees such a step up to a minute later, and the journal says when it saw it.  What waits for such an instant begins at it, however
far the simulated clock was ahead.

Rejected: fixed instants for everything (a run that begins a millisecond early would leave its cancel behind); leaving waits out
altogether (a cancel that struck a waiting task would find it running).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from journeyman.journal.course import Course, Neighbour
from journeyman.kernel.events import (
    DUE_BY_INSTANT,
    AttemptFailed,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    CancelRequested,
    Event,
    TaskCancelled,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
    TaskSubmitted,
    TaskSucceeded,
)
from journeyman.kernel.lifecycle import TERMINAL, WAITING
from journeyman.kernel.policy import Policy

NOTICED_US: Final = 100_000  # a shorter wait is not played
_ROOM_US: Final = 2_000  # less time than this is too little to do something in between
_LATER_US: Final = 1_000  # after its last event the task is looked at
_RESTART_US: Final = 1_000_000
_SEEN_US: Final = 61_000_000  # until an engine has surely seen that the clock was set
_ENTERED_US: Final = 60_000  # by when a run has entered its handler; where there is a rate, an engine makes sure of that after a boot

PAUSE, RESUME, SUBMIT, CRASH, LEAVE, CONFIGURE, ORDER, OTHER, CLOCK = (
    "pause", "resume", "submit", "crash", "leave", "configure", "order", "other", "clock",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the scenario does `at` so many microseconds.  `about`: the event that it brings about; `policy`: of a CONFIGURE.
    `other`: of an OTHER, whom it submits.  `by`: of a CLOCK, microseconds."""

    at: int
    what: str
    about: Event | None = None
    policy: Policy | None = None
    other: Neighbour | None = None
    by: int = 0
    rank: int = 0


@dataclass(slots=True)
class Run:
    """A run as the stand-in plays it: `length` microseconds, then `end` (None: it has not ended)."""

    attempt: int
    timeout: int | None = None  # microseconds, of the task or of the queue's policy when it began
    heartbeat: int | None = None
    length: int = 0
    end: Event | None = None
    died: bool = False  # the process did
    asked_at: int | None = None  # microseconds into it, when it was told to stop
    paused_by: str = ""  # the function that chose the pause after it, if an engine cannot be told of it


class Script:
    """Made of a course; simulated microseconds since its submission."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.steps: list[Step] = []
        self.runs: list[Run] = []
        self.gaps: list[int] = []  # from the end of each run to the start of the next
        self.begun = 0  # when the first of them starts
        self._ahead = 0
        self._start = course.submitted.at
        self._paused = False
        self._hold_at: int | None = 0  # where a pause would have to stand, to keep the next run from beginning
        self._policy = course.policy
        self._since = self._start  # the wait of now began
        self._seen_at = 0  # simulated; by then the engine knows that the clock was set
        self._named = course.submitted.due_kind == DUE_BY_INSTANT  # it ends by the calendar
        self._due = self._due_of(course.submitted)  # from when it may run, recorded
        self._started: AttemptStarted | None = None
        self._ended_at = 0
        self._crashed_at: int | None = None  # by the event of now
        self.restart = restart_of(course.events)
        self._play()
        self.end = self._end()
        self.steps.sort(key=lambda step: (step.at, step.rank))

    def _end(self) -> int:
        """When the test looks at what has come of it, which by then goes no further."""
        course = self.course
        end = max(self._now(course.events[-1].at), self._seen_at if course.task.state in TERMINAL else 0) + _LATER_US
        if course.policy.rate is not None and any(step.what in (CRASH, LEAVE) for step in self.steps):
            end += _ENTERED_US
        if self.runs and self.runs[-1].end is None and self._started is not None:
            self.runs[-1].length = course.events[-1].at - self._started.at  # so far
        if course.task.state in WAITING and self._now(self._due) <= end and not self._paused:
            self._hold()  # it waits still
        return end

    def _now(self, recorded: int) -> int:
        return recorded - self._start - self._ahead

    def _due_of(self, event: TaskSubmitted | AttemptFailed | AttemptSnoozed | TaskRescheduled) -> int:
        """From when it may run, no earlier than the event."""
        if getattr(event, "due_kind", None) == DUE_BY_INSTANT:
            return self.course.clock.reached(event.at, event.due_at)
        return max(event.due_at, event.at)

    def _play(self) -> None:
        self.steps.append(Step(0, SUBMIT, self.course.submitted))
        changes, others, sets = list(self.course.changes), list(self.course.neighbours), list(self.course.steps)
        before = self._start
        for event in self.course.events[1:]:
            while sets and sets[0].at <= event.at:
                self._set_clock(before, *sets.pop(0))
            configured: list[Step] = []
            while changes and changes[0][0] <= event.at:
                at, self._policy = changes.pop(0)
                now = max(self._now(before), self._now(at) - 1)  # where both are of one instant, it came before the event
                configured.append(Step(now, CONFIGURE, policy=self._policy, rank=-1))
            before = event.at
            while others and others[0].submitted.at <= event.at:
                self._other(others.pop(0))
            self._one(event)
            self.steps += configured if self._crashed_at is None else [self._before_the_boot(step) for step in configured]
            self._crashed_at = None

    def _set_clock(self, before: int, at: int, by: int) -> None:
        """Somebody sets it after an event, soon enough to be seen by the recorded instant if there is the time."""
        now = self._now(max(before, at - _SEEN_US))
        self.steps.append(Step(now, CLOCK, by=by))
        self._seen_at = now + _SEEN_US

    def _before_the_boot(self, step: Step) -> Step:
        """The process that found a run lost had the new policy already."""
        assert self._crashed_at is not None
        return replace(step, at=min(step.at, self._crashed_at))

    def _other(self, other: Neighbour) -> None:
        early = other.submitted.at <= self._start
        self.steps.append(Step(0 if early else max(0, self._now(other.submitted.at)), OTHER, other=other, rank=-2 if early else 0))

    def _one(self, event: Event) -> None:
        if isinstance(event, AttemptStarted):
            self._begin(event)
        elif isinstance(event, CancelRequested):
            self.runs[-1].asked_at = event.at - self._started.at if self._started is not None else 0
            self.steps.append(Step(self._now(event.at), ORDER, event))
        elif isinstance(event, TaskRetried | TaskRescheduled | TaskReprioritised) or _cancelled_waiting(event):
            self._ordered(event)
        else:
            self._finish(event)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _begin(self, event: AttemptStarted) -> None:
        waited = event.at - self._due
        stepped = any(self._since <= step.at <= event.at for step in self.course.steps)
        noticed = waited > NOTICED_US or stepped
        if self._named and self._due > self._since:
            self._ahead = min(self._ahead, 0)
        if stepped:
            self._ahead -= max(0, self._seen_at - self._now(event.at))
        if noticed and not self._paused and not self.course.neighbours:
            self._hold()
        if self._paused:
            self.steps.append(Step(self._now(event.at), RESUME))
            self._paused = False
        elif not (noticed and self.course.neighbours):  # else they keep it waiting for as long
            self._ahead += max(0, waited)
        if not self.runs:
            self.begun = self._now(event.at)
        else:
            self.gaps.append(self._now(event.at) - self._ended_at)
        self._started = event
        self.runs.append(Run(event.attempt, self._limit_of("timeout"), self._limit_of("heartbeat")))

    def _limit_of(self, kind: str) -> int | None:
        options = self.course.task.options or {}
        return options.get(f"{kind}_us", getattr(self._policy, f"{kind}_us")) or None

    def _hold(self) -> None:
        """Keep it from beginning, from before it may."""
        if self._hold_at is not None:
            self.steps.append(Step(self._hold_at, PAUSE, rank=-1))
            self._paused = True

    def _ordered(self, event: Event) -> None:
        """Somebody did something to a task that waited, or had ended."""
        if not self._paused and not isinstance(event, TaskRetried) and event.at >= self._due:
            self._hold()
        at = self._now(event.at)
        by_itself = isinstance(event, TaskCancelled) and event.by == "deadline"
        if by_itself:
            self._seen_at = max(self._seen_at, at + self._ahead)  # where the calendar says
        else:
            self.steps.append(Step(at, ORDER, event))
        if isinstance(event, TaskRescheduled):
            self._wait(event, self._due_of(event), at)
        elif isinstance(event, TaskRetried):
            self._wait(event, event.at, at)

    def _wait(self, since: Event, due: int, hold_at: int | None) -> None:
        self._since, self._due, self._hold_at = since.at, due, hold_at
        self._named = getattr(since, "due_kind", None) == DUE_BY_INSTANT

    # --- running ------------------------------------------------------------------------------------------------------

    def _finish(self, event: Event) -> None:
        """A run has ended."""
        started, run = self._started, self.runs[-1]
        assert started is not None
        run.end, run.length = event, event.at - started.at
        run.died = event.epoch > started.epoch and not isinstance(event, AttemptReleased)
        begun = self._now(started.at)
        if run.length < _ROOM_US and (run.died or isinstance(event, AttemptReleased)):
            self._ahead -= _ROOM_US - run.length
            run.length = _ROOM_US
        if (limit := self._limit(event)) is not None:
            self._ahead += run.length - limit
            run.length = limit
        at = self._ended_at = self._now(event.at)
        hold_at: int | None = at
        if run.died:
            hold_at = self._crashed_at = self._died(begun, at, run.asked_at or 0)
            self.steps.append(Step(hold_at, CRASH, event))
        elif isinstance(event, AttemptReleased):
            self.steps.append(Step(at, LEAVE, event))
        elif isinstance(event, AttemptFailed | AttemptSnoozed):
            due = self._due_of(event)
            due_in = due - event.at
            if self._policy is not self.course.policy and self._policy.backoff[0] == "callable":
                run.paused_by = str(self._policy.backoff[1])
            hold_at = at + due_in // 2 if due_in >= _ROOM_US else begun + run.length // 2 if run.length >= _ROOM_US else None
            self._wait(event, due, hold_at)
            return
        self._wait(event, event.at, hold_at)

    def _died(self, begun: int, at: int, asked_at: int) -> int:
        """When the process did whose loss was noticed `at`."""
        died = max(begun, at - self.restart)
        limit = min(filter(None, (self.runs[-1].timeout, self.runs[-1].heartbeat)), default=None)
        if limit is None or died - begun < limit:
            return died
        died = begun + max(limit // 2, asked_at + 1)
        self._ended_at = died + self.restart
        self._ahead += at - self._ended_at
        return died

    def _limit(self, event: Event) -> int | None:
        """How long a run that was timed out is in simulation: exactly its limit."""
        if isinstance(event, TaskSucceeded) or not _struck(event):
            return None
        kind = "timeout" if (event.options or {}).get("cause") == "timeout" else "heartbeat"
        limit = self.runs[-1].timeout
        elapsed: int = getattr(event, "elapsed_us", 0)
        return limit if kind == "timeout" and limit and near(elapsed, limit) else elapsed


def _cancelled_waiting(event: Event) -> bool:
    return isinstance(event, TaskCancelled) and not event.attempt


def near(elapsed: int, limit: int | None) -> bool:
    """Whether a run of that length was ended by that limit."""
    return limit is not None and limit <= elapsed <= limit + max(limit // 10, 2_000_000)


def _struck(event: Event) -> bool:
    return (event.options or {}).get("cause") in ("timeout", "heartbeat")


def restart_of(events: Sequence[Event]) -> int:
    """How long the process stays dead after a crash: no longer than half the shortest run that was lost."""
    lengths: list[int] = []
    started: AttemptStarted | None = None
    for event in events:
        if isinstance(event, AttemptStarted):
            started = event
        elif started is not None and event.epoch > started.epoch and not isinstance(event, TaskRetried):
            lengths.append(event.at - started.at)
            started = None
    return min([_RESTART_US, *(length // 2 for length in lengths)])


__all__ = ["CLOCK", "CONFIGURE", "CRASH", "LEAVE", "NOTICED_US", "ORDER", "PAUSE", "RESUME", "SUBMIT", "Run", "Script", "Step", "near"]
