"""What a queue's statistics are made of: counted as events are applied, forgotten at close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from journeyman.actors.durations import Durations
from journeyman.actors.meter import Meter
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.state import TaskState


class Figures:
    """`handlers`: unfinished tasks by handler.  The meters count submits, starts and ends of tasks."""

    __slots__ = ("durations", "ended", "handlers", "started", "submitted")

    def __init__(self, now: int) -> None:
        self.durations = Durations()
        self.submitted, self.started, self.ended = Meter(now), Meter(now), Meter(now)
        self.handlers: Counter[str] = Counter()

    def recount(self, tasks: Iterable[TaskState]) -> None:
        """The tasks were read anew."""
        self.handlers = Counter(task.handler for task in tasks if task.state not in TERMINAL)

    def tasks_submitted(self, handlers: Sequence[str], at: int) -> None:
        """New tasks, each by its handler."""
        self.submitted.add(len(handlers), at)
        self.handlers.update(handlers)

    def task_ended(self, handler: str, elapsed_us: int, at: int) -> None:
        self.ended.add(1, at)
        self.handlers[handler] -= 1
        if elapsed_us:
            self.durations.add(elapsed_us)
