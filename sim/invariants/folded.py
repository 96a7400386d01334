"""The fold of everything on one disk, kept from one comparison to the next.

Problem.  "live == replayed" and "recovered == folded" want the fold of the whole journal, and reading it again for each comparison was a
third of a run.  Choice: between two comparisons a journal mostly grows, and then the fold of all of it is the last fold and what came
since: the same production function over the same events, decoded from the bytes of each commit as they reached the disk.  As soon as a
record has left the disk (prune, compaction) or a power cut took one back, the next fold is made of what the disk holds, from the first
record on: only that shows whether what was left behind still comes to the same.

That fold does not check and decode a second time what is on the disk as the very object whose bytes were checked and decoded when it
came, and had their place in the chain then (`ChainHolds`): two thirds of such a fold.  What is left of a chain that held still holds,
whatever has gone from it, but for its end: the newest commit must be whole.  With one record that is another object, all are read as
production reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from journeyman.journal.log import Journal
from journeyman.journal.record import FIRST, LAST, Ignored
from journeyman.journal.recovery import fold_everything
from journeyman.journal.store import Batch, Items, Table
from journeyman.kernel.events import EngineBooted, EngineClosed, ValuePut
from journeyman.kernel.taskstate import ROW, TaskState
from journeyman.kernel.world import JournalState, replay

if TYPE_CHECKING:
    from journeyman.sim.disk import Disk

PENDING_KEPT: Final = 50_000  # events that wait to be folded; a world that compares rarely must not hoard them
_OF_NO_TASK: Final = frozenset({EngineBooted, EngineClosed, ValuePut})
_HOLDERS: Final = ("options", "error", "cancel", "rejected", "waits_for")  # None, or a map, a list or a set
_EMPTY: Final = (None,) * len(_HOLDERS)
_held: Final = attrgetter(*_HOLDERS)
_plain: Final = attrgetter(*(name for name in ROW if name not in _HOLDERS))


class Folded:
    """Told of every commit to `disk`; `state()` is the fold of what it holds."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._state = JournalState()
        self._anew = True  # the last fold is none of what the disk holds now
        self._since: list[tuple[int, Any]] = []
        self._rows: dict[bytes, Any] | None = None  # the facts of every task of the last fold
        self._told: dict[bytes, tuple[bytes, tuple[int, Any]]] = {}  # key of a record -> the object that came, its seq and what it says
        self._untold: list[tuple[Items, Sequence[tuple[int, Any]]]] = []  # commits that are not in there yet

    def start_anew(self) -> None:
        """What was heard last is not what the disk holds now."""
        self._anew = True
        self._since.clear()

    def written(self, batch: Batch, items: Items, events: Sequence[tuple[int, Any]]) -> None:
        """`items`: the records of the commit; `events`: the same, read."""
        if items:
            self._untold.append((items, events))
        if any(table is Table.EVENTS for table, _ in batch.deletes):
            self.start_anew()
        if not self._anew:
            self._since += events
            if len(self._since) > PENDING_KEPT:
                self.state()

    def state(self) -> JournalState:
        """Not to be changed.  JournalCorrupt if the disk cannot be read."""
        if self._anew:
            self._state, self._rows = self._from_the_first(), None
            self._anew = False
        elif self._since:
            if any(type(event) not in _OF_NO_TASK for _, event in self._since):
                self._rows = None
            _fold(self._since, self._state)
            self._since.clear()
        return self._state

    def rows(self) -> dict[bytes, Any]:
        """The facts of every task of `state()`, by id.  Not to be changed."""
        state = self.state()
        if self._rows is None:
            self._rows = {task.id: facts(task) for queue in state.queues.values() for task in queue.tasks.values()}
        return self._rows

    def _from_the_first(self) -> JournalState:
        """The fold of every record on the disk."""
        told, self._told = self._told, {}
        for items, events in self._untold:
            told.update((key, (value, event)) for (key, value), event in zip(items, events, strict=True))
        self._untold.clear()
        found: list[tuple[bytes, tuple[int, Any]]] = []
        for key, value in self._disk.scan(Table.EVENTS, limit=1 << 62):
            known = told.get(key)
            if known is None or known[0] is not value:
                self._told = told
                return fold_everything(Journal(self._disk))
            self._told[key] = known  # and what has left the disk is forgotten
            found.append(known)
        if not _ends_whole(found):
            return fold_everything(Journal(self._disk))  # which has the words for it
        state = JournalState()
        _fold((event for _, event in found), state)
        return state


def _ends_whole(found: Sequence[tuple[bytes, tuple[int, Any]]]) -> bool:
    """Whether every record of the newest commit is there."""
    if not found or not found[-1][0][2] & LAST:
        return False
    expected = found[-1][1][0]
    for value, (seq, _) in reversed(found):
        if seq != expected:
            return False
        if value[2] & FIRST:
            return True
        expected -= 1
    return False


def _fold(events: Iterable[tuple[int, Any]], state: JournalState) -> None:
    replay((event for event in events if type(event[1]) is not Ignored), state)


def facts(task: TaskState) -> tuple[Any, ...] | list[Any]:
    """Every fact of a task, to be compared: its row, or quicker where it holds no map, list or set."""
    if _held(task) == _EMPTY:
        found: tuple[Any, ...] = _plain(task)
        return found
    return task.row()


__all__ = ["Folded", "facts"]
