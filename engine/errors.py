"""Every error Journeyman raises, in one tree, grouped by who must act.

    JourneymanError
    ├── the caller: this call cannot be done as it stands
    │   ├── QueueNotFound        (LookupError)  no such queue, neither declared nor stored
    │   ├── HandlerNotFound      (LookupError)  no handler of that name in this engine
    │   ├── TaskNotFound         (LookupError)  no such task: never submitted, or pruned
    │   ├── ScheduleNotFound     (LookupError)  no schedule of that name
    │   ├── InvalidName          (ValueError)   1 to 128 bytes of UTF-8, no control characters
    │   ├── InvalidPayload       (ValueError)   an argument or result that its annotation or the encoding does not take
    │   ├── PayloadTooLarge      (ValueError)   over max_payload; names both sizes
    │   ├── DuplicateTask        the id is taken by a task of another handler, queue or payload
    │   ├── NotCancellable       the task has ended, or runs and running=False was asked
    │   ├── NotWaiting           only a task that waits can be rescheduled or given another priority
    │   ├── DuplicateStep        this attempt has asked for a step of that name already
    │   ├── TooManySteps         the task has as many done steps as a task may have
    │   ├── AttemptOver          (RuntimeError) what this attempt says is not heard any more
    │   ├── NotRetryable         only a failed, cancelled or interrupted task can be retried by hand
    │   └── TransactionConflict  somebody else changed what this transaction read; run it again
    ├── the caller, later: there is no room now
    │   ├── QueueFull            max_pending tasks wait already
    │   └── BudgetExhausted      the namespace has no concurrency left
    ├── the author of the program: two things bear one name
    │   ├── QueueExists
    │   └── HandlerExists
    ├── the owner of the task: how it ended, raised by result()
    │   ├── TaskFailed           .failure holds type, message, traceback
    │   └── TaskCancelled        .reason says why
    ├── the owner of the engine
    │   ├── EngineStopped        the engine is closing or closed; what was acknowledged is in the journal
    │   ├── QueueBroken          one queue's actor died too often; the others go on
    │   └── FeedTruncated        prune has passed this cursor; read the state anew, go on from .cursor
    └── JournalError             the operator: the journal's disk (journal/errors.py)
        ├── JournalLocked        another engine has it open; names the process
        ├── JournalFull          no room for new tasks; running ones still finish
        ├── JournalCorrupt       a record does not check; names its position
        └── JournalVersion       written by a newer Journeyman

Bad values of arguments (a concurrency of 0, a naive datetime) are plain ValueError, a wrong call is TypeError, a wait that took too long is
trio.TooSlowError.  RetryLater, Fatal, Snooze and Cancel are not errors: handlers raise them to steer their task.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from journeyman.kernel.errors import JourneymanError

if TYPE_CHECKING:
    from journeyman.engine.task import Failure, Task


# --- the caller -------------------------------------------------------------------------------------------------------


class QueueNotFound(JourneymanError, LookupError):
    """No queue of that name, neither declared in this process nor stored in the journal."""


class HandlerNotFound(JourneymanError, LookupError):
    """No handler of that name is registered in this engine."""


class TaskNotFound(JourneymanError, LookupError):
    """No task has this id: it was never submitted here, or retention has removed it."""


class ScheduleNotFound(JourneymanError, LookupError):
    """No schedule of that name."""


class InvalidName(JourneymanError, ValueError):
    """A name is 1 to 128 bytes of UTF-8 without control characters."""


class InvalidPayload(JourneymanError, ValueError):
    """An argument or result does not fit its annotation, or has no encoding."""


class PayloadTooLarge(JourneymanError, ValueError):
    """The encoded arguments or result (`size` bytes) exceed `limit` bytes; nothing was stored."""

    def __init__(self, size: int, limit: int, what: str = "payload", advice: str = "raise max_payload or store a reference") -> None:
        super().__init__(size, limit, what, advice)
        self.size = size
        self.limit = limit
        self.what = what
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.what}: {self.size:,} bytes encoded, the limit is {self.limit:,}; {self.advice}"


class DuplicateTask(JourneymanError):
    """The id is taken by a task with another handler, queue or payload."""


class NotCancellable(JourneymanError):
    """The task has ended, or it runs and `running=False` was asked for."""


class NotRetryable(JourneymanError):
    """Only a failed, cancelled or interrupted task can be retried by hand."""


class NotWaiting(JourneymanError):
    """Only a task that waits (scheduled, pending or retrying) can be rescheduled or given another priority."""


class DuplicateStep(JourneymanError):
    """This attempt has asked for a step of that name already: steps of one task have names of their own."""


class TooManySteps(JourneymanError):
    """The task has as many done steps as a task may have.  Let one step do several things, or submit tasks for the parts."""


class AttemptOver(JourneymanError, RuntimeError):
    """The attempt has ended, or another has taken its place: what its handler still does is not recorded.  Let the handler end."""


class TransactionConflict(JourneymanError):
    """Somebody else changed what this transaction read; run it again."""


class QueueFull(JourneymanError):
    """As many tasks wait as `max_pending` allows.  Submit again later, or raise the bound."""


class BudgetExhausted(JourneymanError):
    """The namespace has no concurrency left for another queue; the message says how much is used of how much."""


# --- the author of the program ----------------------------------------------------------------------------------------


class QueueExists(JourneymanError):
    """This engine has a queue of that name already."""


class HandlerExists(JourneymanError):
    """A handler of that name exists already; names are unique in an engine, because the journal knows handlers by name."""


# --- the owner of the task --------------------------------------------------------------------------------------------


class TaskFailed(JourneymanError):
    """The task failed for good, or was interrupted.  `task` is how it stood, `failure` its last error, if it had one."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        task, failure = self.task, self.task.error
        runs = f"{task.attempt} attempt" + ("" if task.attempt == 1 else "s")
        cause = f": {failure.type}: {failure.message}" if failure is not None else ""
        return f"task {task.id} ({task.handler}) {task.state} after {runs}, reason: {task.reason}{cause}"

    @property
    def failure(self) -> Failure | None:
        return self.task.error


class TaskCancelled(JourneymanError):
    """The task was cancelled.  `task` is how it stood, `reason` what was given as the reason."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        return f"task {self.task.id} ({self.task.handler}) was cancelled" + (f": {self.task.reason}" if self.task.reason else "")

    @property
    def reason(self) -> str | None:
        return self.task.reason


# --- the owner of the engine ------------------------------------------------------------------------------------------


class EngineStopped(JourneymanError):
    """The engine is closing or closed.  Every task that was acknowledged is in the journal and goes on at the next start."""


class QueueBroken(JourneymanError):
    """The actor of this queue died of an error too often and was given up; other queues go on.  Restart the engine once it is fixed."""


def given_up(queue: str, error: BaseException) -> str:
    """That a queue is broken, why, and what to do about it.  `queue`: as the reader calls it."""
    return (
        f"queue {queue!r} was given up, because its actor died again and again, the last time of {type(error).__name__}: {error}; "
        "its tasks stay in the journal: mend the cause if it is in your code (the log has the traceback), else report it, "
        "and open the engine again"
    )


def broken_error(name: str, error: BaseException, for_good: bool) -> QueueBroken:
    """For who waits for something of that queue.  `for_good`: it has been given up."""
    broken = QueueBroken(
        given_up(name, error)
        if for_good
        else f"the actor of queue {name!r} died of {type(error).__name__}: {error}; it is restarted; "
        "mend the cause if it is in your code (the log has the traceback), else please report it"
    )
    broken.__cause__ = error
    return broken


class FeedTruncated(JourneymanError):
    """Events that this feed should have shown have left the journal: prune, or the compaction of bookkeeping, was faster than its reader.

    `first`, `last`: the seqs between which they were, both included.  `cursor`: what to give as `since` to go on with what is left.
    """

    def __init__(self, first: int, last: int, cursor: str = "") -> None:
        super().__init__(first, last, cursor)
        self.first = first
        self.last = last
        self.cursor = cursor

    def __str__(self) -> str:
        return (
            f"events between seq {self.first} and {self.last} have left the journal before this feed read them "
            "(retention, or the folding of what is superseded): read the state anew, then go on with since=error.cursor, or keep "
            "ended tasks longer than readers may be away"
        )


# What a kernel's refusal (`Refused.error`) becomes when it reaches the caller.
REFUSALS: Final[Mapping[str, type[JourneymanError]]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            QueueFull,
            DuplicateTask,
            TaskNotFound,
            NotCancellable,
            NotRetryable,
            NotWaiting,
            PayloadTooLarge,
            ScheduleNotFound,
            TransactionConflict,
            DuplicateStep,
            TooManySteps,
        )
    }
)

__all__ = [
    "AttemptOver", "BudgetExhausted", "DuplicateStep", "DuplicateTask", "EngineStopped", "FeedTruncated", "HandlerExists",
    "HandlerNotFound", "InvalidName", "InvalidPayload", "JourneymanError", "NotCancellable", "NotRetryable", "NotWaiting",
    "PayloadTooLarge", "QueueBroken", "QueueExists", "QueueFull", "QueueNotFound", "ScheduleNotFound", "TaskCancelled", "TaskFailed",
    "TaskNotFound", "TooManySteps", "TransactionConflict",
]  # fmt: skip
