"""The fold of everything on one disk, kept from one comparison to the next.

Problem.  "live == replayed" and "recovered == folded" want the fold of the whole journal, and reading it again for each comparison was a
third of a run.  Choice: between two comparisons a journal mostly grows, and then the fold of all of it is the last fold and what came
since: the same production function over the same events, decoded from the bytes of each commit as they reached the disk.  As soon as a
record has left the disk (prune, compaction) or a power cut took one back, the next fold is made of what the disk holds, from the first
record on: only that shows whether what was left behind still comes to the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from journeyman.journal.log import Journal
from journeyman.journal.record import Ignored
from journeyman.journal.recovery import fold_everything
from journeyman.journal.store import Batch, Table
from journeyman.kernel.taskstate import ROW, TaskState
from journeyman.kernel.world import JournalState, replay

if TYPE_CHECKING:
    from journeyman.sim.disk import Disk

PENDING_KEPT: Final = 50_000  # events that wait to be folded; a world that compares rarely must not hoard them
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

    def start_anew(self) -> None:
        """What was heard last is not what the disk holds now."""
        self._anew = True
        self._since.clear()

    def written(self, batch: Batch, events: Sequence[tuple[int, Any]]) -> None:
        if self._anew:
            return
        if any(table is Table.EVENTS for table, _ in batch.deletes):
            self.start_anew()
            return
        self._since += events
        if len(self._since) > PENDING_KEPT:
            self.state()

    def state(self) -> JournalState:
        """Not to be changed.  JournalCorrupt if the disk cannot be read."""
        if self._anew:
            self._state = fold_everything(Journal(self._disk))
            self._anew = False
        elif self._since:
            replay(((seq, event) for seq, event in self._since if not isinstance(event, Ignored)), self._state)
            self._since.clear()
        return self._state


def facts(task: TaskState) -> tuple[Any, ...] | list[Any]:
    """Every fact of a task, to be compared: its row, or quicker where it holds no map, list or set."""
    if _held(task) == _EMPTY:
        found: tuple[Any, ...] = _plain(task)
        return found
    return task.row()


__all__ = ["Folded", "facts"]
