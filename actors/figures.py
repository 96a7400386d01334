"""What a queue's statistics are made of: counted as events are applied, forgotten at close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from journeyman.actors.durations import Durations
from journeyman.actors.meter import Meter
from journeyman.actors.tally import Tally
from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.state import TaskState

_ENDINGS: Final[dict[type, str]] = {
    TaskSucceeded: "succeeded", TaskFailed: "failed", TaskCancelled: "cancelled", TaskInterrupted: "interrupted",
}  # fmt: skip
_RUNS: Final[dict[type, str]] = {AttemptFailed: "failed", AttemptSnoozed: "snoozed", AttemptReleased: "released", AttemptLost: "lost"}
TALLIED: Final = frozenset({*_RUNS, TransitionRejected})  # beside the ends of tasks


class Figures:
    """`handlers`: unfinished tasks by handler.  The meters count submits, starts and ends of tasks.  `tally`: for whoever counts on.
    `restarts`: how often the queue's actor died of a bug and was started again."""

    __slots__ = ("durations", "ended", "handlers", "restarts", "started", "submitted", "tally")

    def __init__(self, now: int, tallied: bool = False) -> None:
        self.durations = Durations()
        self.submitted, self.started, self.ended = Meter(now), Meter(now), Meter(now)
        self.handlers: Counter[str] = Counter()
        self.restarts = 0
        self.tally: Tally | None = Tally() if tallied else None

    def recount(self, tasks: Iterable[TaskState]) -> None:
        """The tasks were read anew."""
        self.handlers = Counter(task.handler for task in tasks if task.state not in TERMINAL)

    def tasks_submitted(self, handlers: Sequence[str], at: int) -> None:
        """New tasks, each by its handler."""
        self.submitted.add(len(handlers), at)
        self.handlers.update(handlers)
        if self.tally is not None:
            self.tally.submitted.update(handlers)

    def task_ended(self, handler: str, event: Any) -> None:
        elapsed_us: int = getattr(event, "elapsed_us", 0)
        self.ended.add(1, event.at)
        self.handlers[handler] -= 1
        if elapsed_us:
            self.durations.add(elapsed_us)
        if self.tally is not None:
            outcome = _ENDINGS[type(event)]
            self.tally.ended[handler, outcome] += 1
            if outcome == "interrupted" or (outcome == "failed" and event.reason == "crashes"):
                self.tally.run_ended(handler, "lost", None)
            elif event.attempt:  # else it had not begun
                self.tally.run_ended(handler, outcome, elapsed_us)

    def heard(self, tally: Tally, handler: str, event: Any) -> None:
        """One of TALLIED, of a task of this handler."""
        if type(event) is TransitionRejected:
            tally.refuse()
            return
        tally.run_ended(handler, _RUNS[type(event)], getattr(event, "elapsed_us", None))
        if type(event) is AttemptFailed:
            tally.retries[handler] += 1
