"""The numbers by which records name their kind of event: part of the file format (docs/FORMAT.md), never reused, never renumbered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    CancelRequested,
    ClockStepped,
    DependencyMet,
    EngineBooted,
    EngineClosed,
    Event,
    JournalCompacted,
    ProgressSampled,
    QueueConfigured,
    QueueOpened,
    QueueParkedUntil,
    QueuePaused,
    QueueResumed,
    ScheduleDeclared,
    ScheduleFired,
    ScheduleRemoved,
    StepRecorded,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
    TasksPruned,
    TaskSubmitted,
    TaskSucceeded,
    TransitionRejected,
    ValuePut,
)

TAGS: Final[Mapping[int, type[Event]]] = {
    1: TaskSubmitted,
    2: AttemptStarted,
    3: TaskSucceeded,
    4: AttemptFailed,
    5: TaskFailed,
    6: TaskCancelled,
    7: TaskInterrupted,
    8: AttemptLost,
    9: AttemptReleased,
    10: AttemptSnoozed,
    11: CancelRequested,
    12: ProgressSampled,
    13: TaskRetried,
    14: TransitionRejected,
    15: TaskRescheduled,
    16: TaskReprioritised,
    17: DependencyMet,
    18: StepRecorded,
    20: ValuePut,
    32: QueueOpened,
    33: QueueConfigured,
    34: QueuePaused,
    35: QueueResumed,
    36: TasksPruned,
    37: QueueParkedUntil,
    38: ScheduleDeclared,
    39: ScheduleRemoved,
    40: ScheduleFired,
    64: EngineBooted,
    65: EngineClosed,
    66: ClockStepped,
    67: JournalCompacted,
}

# Tags that later releases will fill; a journal that holds one was written by a younger version.
RESERVED: Final[Mapping[int, str]] = {
    19: "SignalReceived",
    21: "SubmissionRejected",
    68: "CursorMoved",
    69: "NamespaceDeclared",
}

# Those of one task's life, which name it in field 4.
TASK_KINDS: Final[frozenset[type[Event]]] = frozenset(kind for tag, kind in TAGS.items() if tag < 32 and kind is not ValuePut)
