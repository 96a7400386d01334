"""What a handler raises to steer its task.

All four derive from `Exception`: a handler that catches `Exception` broadly swallows them too, so re-raise what you did not expect.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from journeyman.journal.instants import instant_us
from journeyman.kernel.duration import microseconds


class Steering(Exception):
    """The root of the four; catch it to let a task be steered from within a broad `except`."""


class RetryLater(Steering):
    """This run failed; run again after exactly `delay` seconds, which win over the backoff and its cap, or without one after the backoff.

    `cause` is the error, or a text, that the failure records.  It spends one of the task's attempts, whatever `on=` says.

    `scope="queue"`: the service that all tasks of the queue call has said "not before": nothing of the queue starts until then, restarts
    included, unless `resume` lifts it.  What runs goes on.
    """

    def __init__(
        self,
        cause: BaseException | str = "retry later",
        delay: float | timedelta | None = None,
        *,
        scope: Literal["task", "queue"] = "task",
    ) -> None:
        if scope not in ("task", "queue"):
            raise ValueError(f'scope must be "task" or "queue", not {scope!r}')
        super().__init__(str(cause))
        self.cause = cause
        self.delay = None if delay is None else microseconds(delay, "delay") / 1_000_000
        self.scope: Literal["task", "queue"] = scope


class Fatal(Steering):
    """This task cannot succeed: fail it now, whatever attempts are left."""


class Snooze(Steering):
    """Run again later and charge nothing: after `delay` seconds, or at the instant `until` (aware).

    TypeError for an `until` that is no datetime, ValueError for a naive one and for a delay that is no duration.
    """

    def __init__(self, delay: float | timedelta = 0.0, *, until: datetime | None = None) -> None:
        if until is not None:
            if not isinstance(until, datetime):
                raise TypeError(f"until must be an aware datetime (for example datetime.now(UTC)), not {until!r}; seconds are the delay")
            instant_us(until, "until")  # refused here, where the traceback shows who said it
        super().__init__(delay)  # as it was called, or it could not be pickled
        self.delay = microseconds(delay, "delay") / 1_000_000
        self.until = until

    def __str__(self) -> str:
        return f"until {self.until}" if self.until is not None else f"for {self.args[0]} s"


class Cancel(Steering):
    """End this task as cancelled, with `reason`."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
