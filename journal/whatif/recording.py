"""What happened to one queue, in columns: what `whatif` plays back.

Problem.  Every variant plays the same recording, a recording may hold a million tasks and more, and Python's objects are large: a task as
a TaskState is a kilobyte.  Choice: columns (arrays of integers) for what tasks and their runs have, bytes for mappings (notes.py),
objects only for what people and other queues ordered. A task is a number, its place in the columns; so is an ending.  The endings of one
task are a chain, in the order in which they happened. 66 bytes a task, 45 an ending, 16 and its text for each mapping; docs/JOURNAL.md
says what a million comes to.  Rejected: events kept as they are (450 bytes and more each); reading the journal anew for each variant.

Instants are made even: where the journal's clock was stepped, what follows is moved back by the step, so that time only goes forward here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from journeyman.journal.whatif.notes import Notes
from journeyman.kernel.events import Event
from journeyman.kernel.policy import Policy
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

ID_BYTES: Final = 16
NONE: Final = -1
# Marks of an arrival.
BORN: Final = 1  # it does not come by itself: a run submits it, or it is the new life of a task that was retried
ASLEEP: Final = 2  # its first run was due only after the end of the recording: not played
REPLACES: Final = 4  # it ended another task of its unique key
_UNPLAYED: Final = frozenset({"meta", "parent", "tags"})  # options that decide nothing


class Kind(IntEnum):
    """How a run ended.  CUT: from outside (a crash, a stop, an operator's cancel); how it would have ended is not known, only that
    it lasted at least so long.
    """

    SUCCESS = 0
    FAILURE = 1
    SNOOZE = 2
    CANCEL = 3  # by its own handler
    CUT = 4


class Ending(NamedTuple):
    """One run, as it is heard."""

    kind: Kind
    handler_us: int  # what the handler took
    slot_us: int  # how long its slot was taken: the handler, the commits before and after it, a gate
    wait_us: int  # from due to its start; NONE if it had started before
    seq: int  # of the event; 0 for a run that had not ended
    turn: int
    detail: Mapping[str, Any] | None = None  # cause, retryable, delay_us, parks, until_at, reason, by


class Order(NamedTuple):
    """Something other than an arrival that happened to the queue at `at`."""

    at: int
    seq: int
    turn: int  # what shares a turn was decided on before anything of it could start
    event: Event | Hold | Halt | Ready


class Hold(NamedTuple):
    """The engine was told to stop: nothing starts from here on, what runs may end."""


class Halt(NamedTuple):
    """The engine is gone.  `clean`: what ran was given back; else it died with it."""

    clean: bool


class Ready(NamedTuple):
    """The opened queue starts tasks from here on: its boot is durable."""


class Recording:
    """Of one queue: how it stood at the beginning, who came, what was ordered, how each run ended."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        # how it stood at the beginning
        self.facts: Mapping[str, Any] | None = None
        self.rows: list[tuple[int, list[Any]]] = []  # (number, row) of each unfinished task
        # arrivals, a place in each column
        self.at = array("q")
        self.seq = array("q")
        self.turn = array("I")
        self.due_at = array("q")
        self.due_kind = array("b")
        self.priority = array("i")
        self.handler = array("i")
        self.size = array("i")
        self.marks = bytearray()
        self.first = array("i")  # the first ending
        self._last = array("i")
        self._ids = bytearray()
        self.options = Notes()
        self.handlers: list[str] = []
        self._handler_numbers: dict[str, int] = {}
        self.carried = 0  # the first so many were there at the beginning
        # endings, a place in each column
        self.kind = array("b")
        self.handler_us = array("q")
        self.slot_us = array("q")
        self.wait_us = array("q")
        self.end_seq = array("q")
        self.end_turn = array("I")
        self.next = array("i")
        self.detail = Notes()
        self.pool: dict[int, array[int]] = {}  # handler -> endings to draw from
        self._parents = array("i")  # endings with which others came (ctx.submit), ascending, once for each of those
        self._children = array("i")  # the arrivals that came
        # the rest
        self.orders: list[Order] = []
        self.draw_at = array("q")  # when another queue took of the limiter that this one shares
        self.draw_seq = array("q")
        self.draw_cost = array("q")
        self.lives: dict[int, int] = {}  # seq of a TaskRetried -> the number of the life that it began
        self.lags: dict[int, int] = {}  # seq of a CancelRequested -> how long the handler took to end
        self.not_entered: dict[int, set[bytes]] = {}  # seq of a QueueOpened -> tasks that had started, but not their handlers
        self.remembered: set[bytes] = set()  # tasks whose end others ask about later
        self.own_named: set[bytes] = set()  # of those, tasks of this queue for which others waited
        self.began_at = self.ended_at = 0
        self.starts = 0
        self.boots = 0
        self.down_us = 0
        self.steps = 0
        self.pruned = 0
        self.compacted = False
        self.policy = Policy()  # as it stood in the end
        self.policies = 0  # how often it changed in between
        self.shared_us = 0  # overhead of runs: slot_us - handler_us, in sum
        self.late_us = array("q")  # how late timers were that started something
        self.unfit = 0

    def __len__(self) -> int:
        return len(self.at)

    def id(self, task: int) -> bytes:
        """The id of the task with this number."""
        return bytes(self._ids[task * ID_BYTES : task * ID_BYTES + ID_BYTES])

    def add(
        self, id: bytes, handler: str, at: int, seq: int, turn: int, due_at: int, due_kind: int, priority: int, size: int,
        options: Mapping[str, Any] | None,
    ) -> int:  # fmt: skip
        """A task comes; its number."""
        number = len(self.at)
        self._ids += id
        self.at.append(at)
        self.seq.append(seq)
        self.turn.append(turn)
        self.due_at.append(due_at)
        self.due_kind.append(due_kind)
        self.priority.append(priority)
        self.handler.append(self._handler(handler))
        self.size.append(size)
        self.marks.append(0)
        self.first.append(NONE)
        self._last.append(NONE)
        if options is not None:
            self.options.put(number, {name: value for name, value in options.items() if name not in _UNPLAYED})
        return number

    def _handler(self, name: str) -> int:
        number = self._handler_numbers.get(name)
        if number is None:
            number = self._handler_numbers[name] = len(self.handlers)
            self.handlers.append(name)
        return number

    def end(self, task: int, ending: Ending) -> int:
        """A run of `task` ended; the number of the ending."""
        number = len(self.kind)
        self.kind.append(ending.kind)
        self.handler_us.append(ending.handler_us)
        self.slot_us.append(ending.slot_us)
        self.wait_us.append(ending.wait_us)
        self.end_seq.append(ending.seq)
        self.end_turn.append(ending.turn)
        self.next.append(NONE)
        if ending.detail:
            self.detail.put(number, ending.detail)
        last = self._last[task]
        if last == NONE:
            self.first[task] = number
        else:
            self.next[last] = number
        self._last[task] = number
        if ending.kind is not Kind.CUT:
            handler = self.handler[task]
            self.pool.setdefault(handler, array("i")).append(number)
            self.shared_us += ending.slot_us - ending.handler_us
        return number

    def bear(self, ending: int, arrival: int) -> None:
        """The newest arrival was submitted by the run that came to this ending, the newest success."""
        self._parents.append(ending)
        self._children.append(arrival)
        self.marks[arrival] |= BORN

    def children(self, ending: int) -> list[int]:
        """The arrivals that came with this ending."""
        parents = self._parents
        return list(self._children[bisect_left(parents, ending) : bisect_right(parents, ending)])

    @property
    def children_count(self) -> int:
        return len(self._children)

    @property
    def asleep_count(self) -> int:
        return sum(1 for mark in self.marks if mark & ASLEEP)

    def begin(self) -> QueueState:
        """A new state of the queue, as it stood at the beginning."""
        state = QueueState(self.queue)
        if self.facts is not None:
            state.merge_facts(self.facts)
        for number, row in self.rows:
            if not self.marks[number] & ASLEEP:
                state.adopt(TaskState.from_row(row))
        state.rebuild()
        return state


__all__ = ["ASLEEP", "BORN", "ID_BYTES", "NONE", "REPLACES", "Ending", "Halt", "Hold", "Kind", "Order", "Ready", "Recording"]
