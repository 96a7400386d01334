"""An operator's order as a value: what is to be done, to which tasks, by whom and why.

The same order comes from a command line today and through a door into a running engine tomorrow, and must mean the same.  So it is plain
data that knows nothing of how it reaches an engine.  Who gives it to one is engine/carrying.py, who only counts is engine/foresee.py, and
which tasks it means is the same for both: the aims made here (engine/aim.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from journeyman.engine.aim import Aim, to_cancel, to_prune, to_reprioritise, to_reschedule, to_retry
from journeyman.engine.names import check_words
from journeyman.engine.reading import Filters
from journeyman.kernel.commands import Command, Pause, Resume
from journeyman.kernel.duration import Seconds
from journeyman.kernel.lifecycle import State

Action = Literal["retry", "cancel", "reschedule", "reprioritise", "clear", "pause", "resume", "prune"]
BY_TASK: Final = frozenset({"retry", "cancel", "reschedule", "reprioritise"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Tasks by what is known of them, as in `engine.list`; all that is given must hold."""

    queue: str | None = None
    states: tuple[State, ...] = ()  # none: those that the action is for
    handler: str | None = None
    owner: tuple[str, str] | None = None
    source: str | None = None
    tag: str | None = None
    key: str | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is narrowed down."""
        return self == Selection()

    def filters(self, queue: str | None) -> Filters:
        """The same for whoever lists tasks.  `queue`: by its stored name."""
        states = frozenset(self.states) or None
        return Filters(queue, states, handler=self.handler, owner=self.owner, source=self.source, tag=self.tag, key=self.key)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.  By task: `ids`, or else `selection`.  By queue (clear, pause, resume): `queues`, none for all.

    A prune has all three: `ids`, or else what of the `queues`, none for all, `selection` names.
    """

    action: Action
    ids: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    queues: tuple[str, ...] = ()
    by: str = "api"
    reason: str = ""
    delay: Seconds | None = None  # reschedule: seconds from now, or
    at: datetime | None = None  # this instant
    priority: int = 0  # reprioritise
    older_than: Seconds = 0.0  # prune: seconds since the end; of tasks named by `ids` any age will do

    def aim(self, queue: str | None) -> Aim:
        """What it tells each of its tasks, and which those are.  `queue`: its selection's, by its stored name.  ValueError,
        NotRetryable."""
        filters, by, reason = self.selection.filters(queue), self.by, self.reason
        match self.action:
            case "retry":
                return to_retry(filters, reason=reason, by=by)
            case "cancel":
                return to_cancel(filters, running=True, reason=reason, by=by)
            case "reschedule":
                return to_reschedule(filters, delay=self.delay, at=self.at, reason=reason, by=by)
            case "reprioritise":
                return to_reprioritise(filters, priority=self.priority, reason=reason, by=by)
            case _:
                raise ValueError(f"{self.action} is no order about tasks one by one")

    def prunes(self, queue: str, now: int) -> Filters:
        """What a prune takes of this queue, by its stored name.  ValueError."""
        check_words(self.reason, self.by)
        return to_prune(self.selection.filters(queue), self.older_than, now)

    def of_queue(self) -> Command:
        """What pause and resume tell a queue.  ValueError."""
        check_words(self.reason, self.by)
        return Pause(self.by, self.reason) if self.action == "pause" else Resume(self.by, self.reason)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order.  `count`: tasks, or for pause and resume queues, without those that were so already.
    `refused`: id and why, of those named by id."""

    count: int
    refused: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()  # of tasks that were touched, the first so many


__all__ = ["BY_TASK", "Action", "Order", "Outcome", "Selection"]
