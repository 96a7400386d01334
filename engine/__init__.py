"""The public door.  Everything a program needs is exported here, and from `journeyman` itself."""

from __future__ import annotations

from journeyman.engine.errors import (
    BudgetExhausted,
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
    PayloadTooLarge,
    QueueBroken,
    QueueExists,
    QueueFull,
    QueueNotFound,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TransactionConflict,
)
from journeyman.kernel.lifecycle import State

__all__ = [
    # states
    "State",
    # errors
    "BudgetExhausted", "DuplicateTask", "EngineStopped", "FeedTruncated", "HandlerExists", "HandlerNotFound", "InvalidName",
    "InvalidPayload", "JourneymanError", "NotCancellable", "NotRetryable", "PayloadTooLarge", "QueueBroken", "QueueExists", "QueueFull",
    "QueueNotFound", "TaskCancelled", "TaskFailed", "TaskNotFound", "TransactionConflict",
]  # fmt: skip
