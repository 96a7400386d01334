"""What a queue's statistics are made of: counted as events are applied, forgotten at close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from journeyman.actors.durations import Durations
from journeyman.actors.meter import Meter
from journeyman.actors.tally import Tally
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.state import TaskState


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
            self.tally.task_ended(handler, event)
