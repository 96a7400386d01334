"""What happened: every event kind, as a positional record of complete facts.

Problem.  Events are read by code that is years younger than the code that wrote them, and there are very many of them.
Choice: an event is a `NamedTuple` whose fields, in order, are the CBOR array in the journal (docs/FORMAT.md).  It states
what was *decided* (the due instant, the backoff with its jitter, the attempt, the instant of expiry), so a replay needs
neither clock nor chance nor configuration, and a changed policy never rewrites history.

Rejected: frozen dataclasses (construction costs 3 us against 0.4 us) and maps (twice the bytes, no fixed order).

Conventions.  Every event begins with `at` (microseconds UTC, kernel time), `queue` (its name, "" for what concerns the whole
journal), `qseq` (the queue's own sequence number, 1-based; 0 for the journal) and `epoch` (the queue's epoch; the boot number for
the journal).  Task events go on with `task`, its 16-byte id.  Instants end in `_at`, durations in `_us`.  The last field,
`options`, is None or a map with str keys of what is rare; readers ignore keys they do not know.  One record concerns at most one
task.  Tags are never reused.  A new field is appended with a default, never inserted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from journeyman.kernel.queue_events import (
    ClockStepped as ClockStepped,
)
from journeyman.kernel.queue_events import (
    EngineBooted as EngineBooted,
)
from journeyman.kernel.queue_events import (
    EngineClosed as EngineClosed,
)
from journeyman.kernel.queue_events import (
    JournalCompacted as JournalCompacted,
)
from journeyman.kernel.queue_events import (
    Options as Options,
)
from journeyman.kernel.queue_events import (
    QueueConfigured as QueueConfigured,
)
from journeyman.kernel.queue_events import (
    QueueOpened as QueueOpened,
)
from journeyman.kernel.queue_events import (
    QueueParkedUntil as QueueParkedUntil,
)
from journeyman.kernel.queue_events import (
    QueuePaused as QueuePaused,
)
from journeyman.kernel.queue_events import (
    QueueResumed as QueueResumed,
)
from journeyman.kernel.queue_events import (
    TasksPruned as TasksPruned,
)
from journeyman.kernel.schedule_events import (
    ScheduleDeclared as ScheduleDeclared,
)
from journeyman.kernel.schedule_events import (
    ScheduleFired as ScheduleFired,
)
from journeyman.kernel.schedule_events import (
    ScheduleRemoved as ScheduleRemoved,
)
from journeyman.kernel.value_events import (
    ValuePut as ValuePut,
)

Error = tuple[str, str, str, list[str]]  # type name, message, traceback text, names of the type's MRO

DUE_BY_DURATION: Final = 0  # now, delay, backoff, snooze: moves with a stepped clock
DUE_BY_INSTANT: Final = 1  # `at=` or a cron fire time: stays where the wall clock says


def deadline_moved(options: Mapping[str, Any], delta_us: int) -> dict[str, Any]:
    """The options of a task whose deadline came from a duration, after kernel time has jumped by `delta_us`."""
    return {**options, "deadline_at": options["deadline_at"] + delta_us}


class TaskSubmitted(NamedTuple):
    """A task exists from now on.  `due_at` is also its first due instant, by which it keeps its place.

    `options`: key, unique, unique_for_us, unique_states, owner [kind, id], source, tags, attempts, timeout_us, heartbeat_us, deadline_at,
    deadline_kind (as `due_kind`; absent: an instant), after (ids), after_failure, waits_for (those of `after` that had not ended),
    debounce_us, max_wait_us, latest_at, meta, root, parent, group, schedule [name, fire_at], origin.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    handler: str
    priority: int
    due_at: int
    due_kind: int
    payload_len: int
    payload_digest: bytes  # BLAKE2b, 16 bytes, of the encoded arguments
    codec: int  # 0 CBOR; room for compression and encryption
    key_id: str | None = None  # of the encryption key; none is used yet
    options: Options = None


class AttemptStarted(NamedTuple):
    """A numbered run begins; its fence is (epoch, attempt).

    `tat_at` is the rate limiter's theoretical arrival time after this start (0: no limiter).  `options`: blocked_by, version,
    limiter (the name of that limiter, where it is shared).
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    cost: int
    tat_at: int
    eligible_at: int  # when it became due: at - eligible_at is the time it waited for a slot or token
    options: Options = None


class AttemptFailed(NamedTuple):
    """A run failed, another will follow at `due_at`.  `options`: cause (timeout, heartbeat, retry_later, result), message, progress_ppm."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    elapsed_us: int
    failures: int
    due_at: int
    error: Error
    options: Options = None


class AttemptLost(NamedTuple):
    """The process died during the run.  `entered`: the handler had been entered, so the crash budget is charged."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    crashes: int
    entered: bool
    options: Options = None


class AttemptReleased(NamedTuple):
    """The run was given back uncharged: a graceful stop, or arguments that no longer fit."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    elapsed_us: int
    reason: str
    options: Options = None


class AttemptSnoozed(NamedTuple):
    """The handler asked to be run again at `due_at`; nothing is charged."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    elapsed_us: int
    due_at: int
    due_kind: int
    options: Options = None


class CancelRequested(NamedTuple):
    """A running task was told to stop.  Journalled so that a crash does not forget the wish."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    reason: str
    by: str
    options: Options = None


class ProgressSampled(NamedTuple):
    """The last progress of a run, at most once a second; `fraction_ppm` is in millionths."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    fraction_ppm: int | None
    message: str | None
    options: Options = None


class TaskSucceeded(NamedTuple):
    """`result_len` 0 with codec 0 means None, and no result record.  `options`: message, progress_ppm."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    elapsed_us: int
    expires_at: int | None  # None: kept for ever
    keep_payload: bool
    result_len: int
    result_digest: bytes
    codec: int
    options: Options = None


class TaskFailed(NamedTuple):
    """The dead letter.  `reason`: attempts, fatal, not retryable, crashes.  `options`: cause, message, progress_ppm."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    elapsed_us: int
    failures: int
    crashes: int
    expires_at: int | None
    keep_payload: bool
    error: Error | None
    reason: str
    options: Options = None


class TaskCancelled(NamedTuple):
    """`attempt` is that of the cancelled run, 0 for a task that was waiting.  `options`: error, message, progress_ppm."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    elapsed_us: int
    expires_at: int | None
    keep_payload: bool
    reason: str
    by: str
    options: Options = None


class TaskInterrupted(NamedTuple):
    """Was running when the process died, in a queue with on_crash="interrupt"."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    expires_at: int | None
    keep_payload: bool
    reason: str
    options: Options = None


class TaskRetried(NamedTuple):
    """An operator gave an ended task a fresh budget, at the back of the order.

    `row` is the whole task as it stood (TaskState.row): the state need not remember ended tasks to apply this.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    by: str
    reason: str
    row: list[Any]
    options: Options = None


class TaskRescheduled(NamedTuple):
    """A waiting task is due at another instant: pushed back by a debounced submit, or moved by an operator.

    `place_at` is its first due instant from here on, by which it keeps its place.  `options`: with new arguments, whose record is that of
    this event and takes the place of the old one, payload_len, payload_digest and codec; latest_at, the instant beyond which further
    debounced submits do not push it.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    due_at: int
    due_kind: int
    place_at: int
    by: str
    reason: str
    options: Options = None


class TaskReprioritised(NamedTuple):
    """An operator gave a waiting task another place in the order."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    priority: int
    by: str
    reason: str
    options: Options = None


class DependencyMet(NamedTuple):
    """Some of what the task waited for (`after`) has ended as it should.  `met`: [id, state it ended in] of each."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    met: list[list[Any]]
    options: Options = None


class StepRecorded(NamedTuple):
    """A step of the running attempt is done and will not run again for this task.  Its value is a record of its own, as a result is
    (`result_len` 0 with codec 0 means None, and no record).
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    name: str
    result_len: int
    result_digest: bytes
    codec: int
    options: Options = None


class TransitionRejected(NamedTuple):
    """A stale attempt spoke and was not heard.  `kind`: what it said (success, failure, snooze, cancel, release, progress, heartbeat,
    step)."""

    at: int
    queue: str
    qseq: int
    epoch: int
    task: bytes
    attempt: int
    fence_epoch: int
    kind: str
    state: str  # what the task was when the word came
    options: Options = None


TaskEvent = (
    TaskSubmitted | AttemptStarted | AttemptFailed | AttemptLost | AttemptReleased | AttemptSnoozed | CancelRequested
    | ProgressSampled | TaskSucceeded | TaskFailed | TaskCancelled | TaskInterrupted | TaskRetried | TransitionRejected | TaskRescheduled
    | TaskReprioritised
    | DependencyMet
    | StepRecorded
)  # fmt: skip
QueueEvent = (
    QueueOpened | QueueConfigured | QueuePaused | QueueResumed | QueueParkedUntil | TasksPruned | ScheduleDeclared | ScheduleRemoved
    | ScheduleFired
)  # fmt: skip
JournalEvent = EngineBooted | EngineClosed | ClockStepped | JournalCompacted | ValuePut
Event = TaskEvent | QueueEvent | JournalEvent
