"""One attempt: what the executor, the actor and the handler's context share of a run while it lives.

Nothing here is state in the sense of law 1: a crash forgets it, and the journal says what must be known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio

from journeyman.actors.ending import CANCEL, HEARTBEAT, STOP, TIMEOUT, storable
from journeyman.actors.lane import Runnable
from journeyman.kernel.bounds import PROGRESS_MESSAGE_MAX
from journeyman.kernel.commands import Heartbeat, Progress
from journeyman.kernel.keys import key_of

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor
    from journeyman.actors.values import Changes
    from journeyman.kernel.commands import Outcome
    from journeyman.kernel.state import TaskState


# The attempt whose handler is running, seen from within the handler and from what it calls.
current_attempt: ContextVar[Attempt | None] = ContextVar("journeyman_attempt", default=None)


class Attempt:
    __slots__ = (
        "_beat_us", "_began_us", "_deadline", "actor", "args", "cancel_requested", "context", "cost", "entered", "epoch", "fraction_ppm",
        "handler", "hold_us", "kwargs", "late", "launched", "message", "number", "sampled_at", "saw_cancel", "scope", "seq", "started",
        "straggling", "submits", "task", "timeout_us", "values", "why",
    )  # fmt: skip

    def __init__(
        self,
        actor: QueueActor,
        task: TaskState,
        seq: int,
        handler: Runnable,
        args: list[Any],
        kwargs: dict[str, Any],
        timeout_us: int | None,
        beat_us: int | None,
    ) -> None:
        self.actor = actor
        self.task = task
        self.seq = seq  # of its AttemptStarted
        self.number = task.attempt
        self.epoch = task.epoch
        self.handler = handler
        self.args = args
        self.kwargs = kwargs
        self.timeout_us = timeout_us
        self._beat_us = beat_us
        self._deadline = math.inf
        self.scope: trio.CancelScope | None = None
        self.context: Any = None
        self.why: str | None = None  # why the scope was cancelled
        self.cancel_requested = False
        self.saw_cancel = False
        self.straggling = False
        self.launched = False  # the commit of its start is durable, and its task runs
        self.late: Outcome | None = None  # of an abandoned thread that has ended
        self.started = 0.0
        self._began_us = 0
        self.entered = False  # its handler
        self.hold_us = 0
        self.cost = 1  # of its start
        self.fraction_ppm: int | None = None
        self.message: str | None = None
        self.sampled_at = -math.inf
        self.submits: list[Any] = []
        self.values: Changes | None = None  # what it reads and puts with its success

    def open_scope(self) -> trio.CancelScope:
        """The scope of the handler, with the nearer of time-out and heartbeat as its deadline."""
        now = self.started = trio.current_time()
        self._began_us = self.actor.shell.clock.monotonic()
        self.entered = True
        if self.timeout_us is not None:
            self._deadline = now + self.timeout_us / 1_000_000
        deadline = self._deadline
        if self._beat_us is not None:
            deadline = min(deadline, now + self._beat_us / 1_000_000)
        scope = self.scope = trio.CancelScope(deadline=deadline)
        return scope

    def time_left_us(self) -> int | None:
        """Until the time-out strikes; 0 or less once it has; None without one.  From any thread."""
        return None if self.timeout_us is None else self.timeout_us - self.elapsed_us()

    def over(self) -> bool:
        """Whether the handler should end: a cancel, a stop, or its time-out.  From any thread (a trio scope cannot be asked there)."""
        if self.cancel_requested or self.why is not None:
            return True
        left = self.time_left_us()
        return left is not None and left <= 0

    def report(self, fraction_ppm: int | None, message: str | None) -> None:
        """Progress: visible at once, journalled at most once a second.  A stale attempt's word is journalled as rejected."""
        if self.current:
            self.beat()
            if fraction_ppm is not None:
                self.fraction_ppm = fraction_ppm
            if message is not None:
                self.message = storable(message, PROGRESS_MESSAGE_MAX)
            now = trio.current_time()
            if now - self.sampled_at < 1.0:
                return
            self.sampled_at = now
            fraction_ppm, message = self.fraction_ppm, self.message
        self.actor.ask(Progress(self.task.id, self.epoch, self.number, fraction_ppm, message))

    @property
    def current(self) -> bool:
        """Whether the queue still knows this as the task's live attempt."""
        return self.actor.attempts.get(self.task.id) is self

    def beat(self) -> None:
        """The handler lives.  A heartbeat is never an event; only its loss is, and the word of a stale attempt."""
        if not self.current:
            self.actor.ask(Heartbeat(self.task.id, self.epoch, self.number))
        elif self._beat_us is not None and self.scope is not None and self.why is None:
            self.scope.deadline = min(self._deadline, trio.current_time() + self._beat_us / 1_000_000)

    def cancel(self) -> None:
        """An operator wants it to end.  A thread cannot be stopped: it sees `ctx.cancelled`, and is waited for."""
        self.cancel_requested = True
        if self.why is None and not self.handler.threaded:
            self.why = CANCEL
            if self.scope is not None:
                self.scope.cancel()

    def ask_to_stop(self) -> None:
        """The engine is closing: an async handler is cancelled, a thread sees `ctx.cancelled` and is waited for, for a while."""
        if self.why is None or (self.why == CANCEL and self.handler.threaded):
            self.why = STOP  # where an operator has cancelled it as well, the queue remembers that
        self.cancel_requested = True
        if self.scope is not None and not self.handler.threaded:
            self.scope.cancel()

    def stop(self) -> None:
        """The engine is closing and waits no longer."""
        self.ask_to_stop()
        if self.scope is not None:
            self.scope.cancel()

    def struck(self) -> str | None:
        """After the scope: why it was cancelled, a passed deadline included."""
        if self.why is None and self.scope is not None and self.scope.cancel_called:
            self.why = TIMEOUT if trio.current_time() >= self._deadline else HEARTBEAT
        return self.why

    def elapsed_us(self) -> int:
        return self.actor.shell.clock.monotonic() - self._began_us

    def last_words(self) -> dict[str, Any] | None:
        """The last progress, for the end event."""
        if self.message is None and self.fraction_ppm is None:
            return None
        words: dict[str, Any] = {}
        if self.message is not None:
            words["message"] = self.message
        if self.fraction_ppm is not None:
            words["progress_ppm"] = self.fraction_ppm
        return words


def keys_of(attempts: Iterable[Attempt]) -> dict[str, list[bytes]]:
    """The serialization keys that these hold, and for which tasks."""
    found: dict[str, list[bytes]] = {}
    for attempt in attempts:
        key = key_of(attempt.task)
        if key is not None:
            found.setdefault(key, []).append(attempt.task.id)
    return found
