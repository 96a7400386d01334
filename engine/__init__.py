"""The public door.  Everything a program needs is exported here, and from `journeyman` itself."""

from __future__ import annotations

from journeyman.actors.steering import Cancel, Fatal, RetryLater, Snooze, Steering
from journeyman.engine.context import Context
from journeyman.engine.engine import Door, Engine, Namespace
from journeyman.engine.errors import (
    AttemptOver,
    BudgetExhausted,
    DuplicateStep,
    DuplicateTask,
    EngineStopped,
    FeedTruncated,
    HandlerExists,
    HandlerNotFound,
    InvalidName,
    InvalidPayload,
    JourneymanError,
    NotCancellable,
    NotRetryable,
    NotWaiting,
    PayloadTooLarge,
    QueueBroken,
    QueueExists,
    QueueFull,
    QueueNotFound,
    ScheduleNotFound,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TooManySteps,
    TransactionConflict,
)
from journeyman.engine.feed import EventFeed
from journeyman.engine.handle import Handle
from journeyman.engine.handler import Handler, NamedHandler
from journeyman.engine.limits import Limits
from journeyman.engine.policy import QueuePolicy
from journeyman.engine.questions import Explanation
from journeyman.engine.queue import Queue
from journeyman.engine.schedule import Schedule, fire_times
from journeyman.engine.spec import UNSET, BoundCall, SubmitSpec
from journeyman.engine.stats import QueueStats
from journeyman.engine.task import Failure, Task
from journeyman.engine.transaction import Transaction
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked, JournalVersion
from journeyman.journal.history import FeedEvent, HistoryEvent
from journeyman.kernel.explain import Reason
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Exponential, Linear, Priority, Rate, Retention, Retry

__all__ = [
    # declaring
    "Constant", "Engine", "Exponential", "Handler", "Limits", "Linear", "Namespace", "Priority", "Queue", "Rate", "Retention", "Retry",
    "UNSET",
    # in a handler
    "Cancel", "Context", "Fatal", "RetryLater", "Snooze", "Steering",
    # submitting and looking
    "BoundCall", "Door", "EventFeed", "Explanation", "Failure", "FeedEvent", "Handle", "HistoryEvent", "NamedHandler", "QueuePolicy",
    "QueueStats", "Reason", "Schedule", "State", "SubmitSpec", "Task", "Transaction", "fire_times",
    # errors
    "AttemptOver", "BudgetExhausted", "DuplicateStep", "DuplicateTask", "EngineStopped", "FeedTruncated", "HandlerExists",
    "HandlerNotFound", "InvalidName",
    "InvalidPayload", "JournalCorrupt", "JournalError", "JournalFull", "JournalLocked", "JournalVersion", "JourneymanError",
    "NotCancellable", "NotRetryable", "NotWaiting", "PayloadTooLarge", "QueueBroken", "QueueExists", "QueueFull", "QueueNotFound",
    "ScheduleNotFound", "TaskCancelled", "TaskFailed", "TaskNotFound", "TooManySteps", "TransactionConflict",
]  # fmt: skip
