"""How one task went, as far as its journal tells: what `journeyman from-test` makes a simulation of.

The course is the task's own events, dated by a clock that nobody sets (steady.py), and, around them, what the journal says of its queue:
the policy under which it was submitted, and the changes of it while the task lived.  What else stood in its way (slots, keys, rates, a
pause) is only seen as waiting: from the instant at which a run could have begun to the instant at which it did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from journeyman.journal.cbor import decode_payload
from journeyman.journal.steady import ClockStep, Steady
from journeyman.journal.view import JournalView
from journeyman.kernel.bounds import HOUR_US
from journeyman.kernel.events import (
    DUE_BY_DURATION,
    DUE_BY_INSTANT,
    AttemptStarted,
    ClockStepped,
    DependencyMet,
    Event,
    JournalCompacted,
    ProgressSampled,
    QueueConfigured,
    StepRecorded,
    TaskSubmitted,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.policy import Policy
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

# They change nothing of a task's course, or nothing that a test without the rest of the world could make happen.
_ASIDE: Final = (ProgressSampled, StepRecorded, TransitionRejected, DependencyMet)
_ENDS_A_RUN: Final = frozenset({
    "AttemptFailed", "AttemptLost", "AttemptReleased", "AttemptSnoozed", "TaskSucceeded", "TaskFailed", "TaskCancelled", "TaskInterrupted",
})  # fmt: skip
_PAGE: Final = 5_000
_LOOKED_AT: Final = 5_000  # tasks that may have been in the way
BLINK_US: Final = 50_000  # between the end of one that was in the way and the start of the next


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another task of the queue, and those of its runs that overlapped the course: (start, end, whether another run followed)."""

    task: TaskState
    submitted: TaskSubmitted
    runs: list[tuple[int, int, bool]]

    @property
    def key(self) -> str | None:
        return (self.task.options or {}).get("key")


@dataclass(frozen=True, slots=True)
class Course:
    """A task from its submission to its newest event.  `arguments`: (positional, named); None if they were dropped."""

    path: str
    task: TaskState
    submitted: TaskSubmitted
    events: list[Event]  # without what is aside, the submission first
    policy: Policy  # at its submission
    policy_known: bool
    changes: list[tuple[int, Policy]]  # (instant, policy from then on) while it lived
    arguments: tuple[list[Any], dict[str, Any]] | None
    result: Any
    clock: Steady = field(default_factory=Steady)
    neighbours: list[Neighbour] = field(default_factory=list)

    @property
    def steps(self) -> list[ClockStep]:
        """How the clock was set while the task lived, if anything of it goes by the calendar; else nobody would notice."""
        return self.clock.steps if any(map(_goes_by_calendar, self.events)) else []


def course_of(view: JournalView, id: bytes, tell: Callable[[int], object] = lambda seq: None) -> Course | None:
    """The course of task `id`; None if there is no such task.  `tell` hears how far it has read in what is not the task's own."""
    with view.newest() as found:
        held = next((queue for queue in found.state.queues.values() if id in queue.tasks), None)
        task = found.catalog.get(id, 0) if held is None else held.tasks[id]
        if task is None:
            return None
        queue = found.state.queue(task.queue)
        events = found.journal.events(list(task.seqs))
    around = dict(view.of_kinds((ClockStepped, QueueConfigured), task.seq, events[-1][0], tell))
    clock = Steady([(seq, event) for seq, event in around.items() if isinstance(event, ClockStepped)])
    own = [clock.event(seq, event) for seq, event in events if isinstance(event, Event) and not isinstance(event, _ASIDE)]
    submitted = own[0]
    assert isinstance(submitted, TaskSubmitted)
    changed = [(clock.event(seq, event).at, event) for seq, event in around.items() if isinstance(event, QueueConfigured)]
    changes = [(at, Policy.from_facts(event.policy)) for at, event in changed if event.queue == task.queue]
    policy, known = _policy_at(view, queue, task, changes, tell)
    data = view.payload(task.payload_seq, task.payload_digest)
    arguments = decode_payload(data) if data is not None else None
    return Course(
        path=view.path,
        task=task,
        submitted=submitted,
        events=own,
        policy=policy,
        policy_known=known,
        changes=changes,
        arguments=None if arguments is None else (arguments[0], arguments[1]),
        result=_result(view, own[-1], task),
        clock=clock,
    )


def _goes_by_calendar(event: Event) -> bool:
    if getattr(event, "due_kind", DUE_BY_DURATION) == DUE_BY_INSTANT:
        return True
    options = event.options or {}
    return "deadline_at" in options and "deadline_kind" not in options


def _result(view: JournalView, last: Event, task: TaskState) -> Any:
    if not isinstance(last, TaskSucceeded) or not task.result_seq:
        return None
    data = view.payload(task.result_seq, task.result_digest)
    return None if data is None else decode_payload(data)


def _policy_at(
    view: JournalView, queue: QueueState, task: TaskState, changes: list[tuple[int, Policy]], tell: Callable[[int], object]
) -> tuple[Policy, bool]:
    """The policy at the submission, as far as the journal tells, and whether it does.  `changes`: those that came later."""
    if queue.config_seq < task.seq:  # the one of today
        return queue.policy, True
    before = _policy_before(view, task, tell)
    if before is None:
        return (changes[0][1] if changes else queue.policy), False
    return before, True


def _policy_before(view: JournalView, task: TaskState, tell: Callable[[int], object]) -> Policy | None:
    """The newest policy before the submission, read backwards."""
    stop, first = task.seq, view.first_seq
    while stop > first:
        start = max(first, stop - _PAGE)
        for _, event in reversed(list(view.events(start, stop - 1))):
            if isinstance(event, QueueConfigured) and event.queue == task.queue:
                return Policy.from_facts(event.policy)
            if isinstance(event, JournalCompacted) and (facts := event.queues.get(task.queue)) and facts.get("policy"):
                return Policy.from_facts(facts["policy"])
        stop = start
        tell(stop)
    return None


def neighbours_of(view: JournalView, course: Course, most: int, tell: Callable[[int], object] = lambda seq: None) -> list[Neighbour]:
    """Other tasks of the queue that ran while this one waited to begin a run, those of its key first, at most `most`.  None where the
    clock was set meanwhile: their instants are not comparable."""
    if course.clock.steps:
        return []
    waits = waiting(course.events)
    ids = _who_ran(view, course, waits, tell)
    key = (course.task.options or {}).get("key")
    found: list[Neighbour] = []
    with view.newest() as now:
        for id in ids:
            task = now.state.queue(course.task.queue).tasks.get(id) or now.catalog.get(id, 0)
            if task is None:
                continue  # retention has dropped it
            events: list[Event] = [event for _, event in now.journal.events(list(task.seqs)) if isinstance(event, Event)]
            if (neighbour := _neighbour(task, events, waits)) is not None:
                found.append(neighbour)
    found.sort(key=lambda one: (one.key != key, one.task.seq))
    return sorted(found[:most], key=lambda one: one.task.seq)


def stood_in_the_way(course: Course, neighbours: list[Neighbour], least: int) -> bool:
    """Whether these explain every wait of at least so many microseconds: they held its key, or all slots of the queue, all the time."""
    return all(_held(course, neighbours, since, until) for since, until in waiting(course.events) if until - since >= least)


def _held(course: Course, neighbours: list[Neighbour], since: int, until: int) -> bool:
    key = (course.task.options or {}).get("key")
    edges = sorted({edge for one in neighbours for start, end, _ in one.runs for edge in (start, end) if since <= edge < until})
    for instant, following in zip([since, *edges], [*edges, until], strict=True):
        running = [one for one in neighbours if any(start <= instant < end for start, end, _ in one.runs)]
        of_key = sum(1 for one in running if key is not None and one.key == key)
        free = len(running) < course.policy.concurrency and (key is None or of_key < course.policy.per_key)
        if free and following - instant > BLINK_US:
            return False
    return True


def waiting(events: list[Event]) -> list[tuple[int, int]]:
    """When a run could have begun, and when it did: the stretches in which something stood in the way."""
    found: list[tuple[int, int]] = []
    before = events[0]
    for event in events[1:]:
        if isinstance(event, AttemptStarted):
            since = max(event.eligible_at, before.at)
            if since < event.at:
                found.append((since, event.at))
        before = event
    return found


def _who_ran(view: JournalView, course: Course, waits: list[tuple[int, int]], tell: Callable[[int], object]) -> list[bytes]:
    """Ids of the tasks of the queue of whose runs something is told while it waited; no more than the newest few thousand."""
    seen: dict[bytes, None] = {}
    for seq, event in view.events(course.task.seq, course.task.last_seq):
        if getattr(event, "attempt", 0) and event.queue == course.task.queue and any(since <= event.at <= until for since, until in waits):
            id = event.task  # type: ignore[union-attr]  # events with an attempt have one
            seen.pop(id, None)
            seen[id] = None
            if len(seen) > _LOOKED_AT:
                del seen[next(iter(seen))]
        if seq % _PAGE == 0:
            tell(seq)
    seen.pop(course.task.id, None)
    return list(seen)


def _neighbour(task: TaskState, events: list[Event], waits: list[tuple[int, int]]) -> Neighbour | None:
    """`task`, if it ran in one of these stretches."""
    runs: list[tuple[int, int, bool]] = []
    started: int | None = None
    for event in events:
        if isinstance(event, AttemptStarted):
            started = event.at
        elif started is not None and type(event).__name__ in _ENDS_A_RUN:
            runs.append((started, event.at, type(event).__name__.startswith("Attempt")))
            started = None
    if started is not None:
        runs.append((started, waits[-1][1] + HOUR_US, False))  # it runs still
    first = events[0]
    overlapping = any(start < until and end > since for start, end, _ in runs for since, until in waits)
    return Neighbour(task, first, runs) if overlapping and isinstance(first, TaskSubmitted) else None


__all__ = ["BLINK_US", "Course", "Neighbour", "course_of", "neighbours_of", "stood_in_the_way", "waiting"]
