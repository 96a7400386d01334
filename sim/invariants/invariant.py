"""What every invariant is: a small class that hears what happens to one journal and says when a promise is broken.

An invariant defines the methods it wants to be called, by the name of what happened (HEARD); the witness looks them up once, so an event
costs only those who want it.  A method for an event is called with `(seq, event, work)` *before* the oracle has taken the event in:
`work` is the task as it stood, or None.  Nothing here may raise into production code: `broken` ends the run at the next turn.

The other moments: `records(items, events)` before the events of a commit are taken in, as bytes and read, for what looks at all of them;
`keyed(seq, event, work)` for every event of a task with a serialization key, before its own method; `commit(batch)` after the events of a
commit were taken in; `entered(work)` and `left(work)` for handlers; `step_begun(work, name)` and `step_returned(work, name)` for their
durable steps; `booted(boot)`, `closing(boot)`, `crashed(boot)`; `answered(asked, answer, error)` for calls from outside; `told(feed, place,
said)` for feeds; `finish()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from journeyman.sim.witness import Witness

HEARD: Final[Mapping[str, str]] = {
    "TaskSubmitted": "submitted",
    "AttemptStarted": "started",
    "AttemptFailed": "failed",
    "AttemptLost": "lost",
    "AttemptReleased": "released",
    "AttemptSnoozed": "snoozed",
    "CancelRequested": "cancel_requested",
    "ProgressSampled": "progress",
    "TaskSucceeded": "succeeded",
    "TaskFailed": "dead",
    "TaskCancelled": "cancelled",
    "TaskInterrupted": "interrupted",
    "TaskRetried": "retried",
    "StepRecorded": "step_recorded",
    "TransitionRejected": "rejected",
    "TaskRescheduled": "rescheduled",
    "TaskReprioritised": "reprioritised",
    "DependencyMet": "met",
    "QueueOpened": "opened",
    "QueueConfigured": "configured",
    "QueuePaused": "paused",
    "QueueResumed": "resumed",
    "QueueParkedUntil": "parked",
    "TasksPruned": "pruned",
    "ScheduleDeclared": "schedule_declared",
    "ScheduleRemoved": "schedule_removed",
    "ScheduleFired": "schedule_fired",
    "EngineBooted": "boot_recorded",
    "EngineClosed": "close_recorded",
    "ClockStepped": "clock_stepped",
    "JournalCompacted": "compacted",
    "ValuePut": "value_put",
}
MOMENTS: Final = (
    "records", "commit", "entered", "left", "step_begun", "step_returned", "booted", "closing", "crashed", "answered", "told", "finish",
)  # fmt: skip


class Invariant:
    """One promise about one journal.  The docstring of each subclass states it.

    Where it has nothing to say it may say so, and is not asked there: `calls`, whose answers it listens to (refusals it hears of all;
    None: of all); `of_policy` and `of_option`, without which in the queue's policy or the task's options neither a start nor an entry
    is any of its business.
    """

    name: ClassVar[str] = ""
    calls: ClassVar[frozenset[str] | None] = None
    of_policy: ClassVar[str] = ""
    of_option: ClassVar[str] = ""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.oracle = witness.oracle

    def broken(self, details: str) -> None:
        self.witness.broken(self.name, details)


__all__ = ["HEARD", "MOMENTS", "Invariant"]
