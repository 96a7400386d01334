"""live == replayed, and recovered == folded from the first event (law 1).

Both comparisons look at every task, so they are made at crashes, boots, ends of calls and the end of the run only when enough has been
written since the last one: all of them together cost no more than a fixed share of what was written.  The fold itself is kept from one
comparison to the next (sim/invariants/folded.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from journeyman.journal.errors import JournalError
from journeyman.journal.recovery import Recovered, recover, verify_indexes, verify_rows
from journeyman.journal.row import decode_rows
from journeyman.journal.store import Store, Table
from journeyman.journal.tally import Tally
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState
from journeyman.sim.invariants.folded import facts
from journeyman.sim.invariants.invariant import Invariant

SHARE: Final = 3  # compared again when this part of the journal is new; the next boot is compared with its fold in any case
LIVE_SHARE: Final = 2
OFTEN: Final = 2_000  # records; a longer journal is compared at boots and closes only

Picture = dict[str, dict[Any, Any]]


def picture(
    state: JournalState, tally: Tally | None = None, settled: Iterable[TaskState] = (), rows: dict[bytes, Any] | None = None
) -> Picture:
    """Everything logical: facts, and those of every task, in memory or (with `tally`) among `settled`, the rows of ended tasks.

    `rows`: those in memory, for whoever has them.
    """
    if rows is None:
        rows = {task.id: facts(task) for queue in state.queues.values() for task in queue.tasks.values()}
    if tally is not None:
        in_memory = set(rows)
        for task in settled:
            if task.id not in tally.shadowed and task.id not in tally.leaving:
                if task.id not in in_memory:
                    rows[task.id] = facts(task)
                elif rows[task.id][1] == task.seq:  # memory speaks for an id that was used again
                    rows[task.id] = ["settled, and in memory too"]
    return {"journal": state.facts(), "queues": {name: queue.facts() for name, queue in state.queues.items()}, "rows": rows}


def settled_on(disk: Store) -> list[TaskState]:
    """The rows of ended tasks."""
    return [task for task, _ in decode_rows(Table.TASKS, disk.scan(Table.TASKS, limit=1 << 30))]


def difference(one: Picture, other: Picture) -> str:
    """The first part in which they differ, in words; "" if none."""
    if one == other:
        return ""
    for part in one:
        for key in sorted({*one[part], *other[part]}, key=repr):
            a, b = one[part].get(key), other[part].get(key)
            if a != b:
                return f"{part} {key.hex() if isinstance(key, bytes) else key}: {a} against {b}"
    return ""


class LiveEqualsReplayed(Invariant):
    """The state of an engine that has nothing under way is the fold of the events on the disk."""

    name = "live equals replayed"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._compared_at = 0

    def _due(self) -> bool:
        return (self.oracle.newest_seq - self._compared_at) * LIVE_SHARE > self.witness.disk.count(Table.EVENTS)

    def booted(self, boot: Any) -> None:
        self._compare()

    def closing(self, boot: Any) -> None:
        self._compare()

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if self.oracle.newest_seq != self._compared_at and self.witness.disk.count(Table.EVENTS) <= OFTEN:
            self._compare()

    def _compare(self) -> None:
        shell = self.witness.shell
        if shell is None or shell.stopping or shell.closed or not shell.sound or not self._due():
            return
        if shell.writer.failure is not None or not shell.writer.idle:
            return
        self._compared_at = self.oracle.newest_seq
        disk = self.witness.disk
        try:
            live = picture(shell.world, shell.catalog.tally, settled_on(disk))
            folded = picture(self.witness.folded.state(), rows=self.witness.folded.rows())
        except JournalError as error:
            self.broken(str(error))
            return
        differs = difference(live, folded)
        if differs:
            self.broken(differs)


class RecoveredEqualsFolded(Invariant):
    """What a crash leaves on the disk is recovered, from the newest checkpoint and the tail, to the fold of all events; the tables of
    rows and indexes agree with it.
    """

    name = "recovered equals folded"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._compared_at = 0

    def crashed(self, boot: Any) -> None:
        if (self.oracle.newest_seq - self._compared_at) * SHARE > self.witness.disk.count(Table.EVENTS):
            self._compare()

    def finish(self) -> None:
        self._compare()

    def _compare(self) -> None:
        self._compared_at = self.oracle.newest_seq
        try:
            again: Recovered = recover(self.witness.disk)
            settled: list[TaskState] = []
            verify_rows(self.witness.disk, again.tally, settled)
            verify_indexes(self.witness.disk, again.tally, settled)
            folded = picture(self.witness.folded.state(), rows=self.witness.folded.rows())
        except JournalError as error:
            self.broken(str(error))
            return
        if again.report.cut_short:
            self.witness.reach("a checkpoint cut short by a crash")
        if again.report.checkpoint_seq:
            self.witness.reach("recovered from a checkpoint")
        recovered = picture(again.state, again.tally, settled)
        differs = difference(recovered, folded)
        if differs:
            self.broken(differs)
        if again.journal.next_seq != self.oracle.newest_seq + 1:
            self.broken(f"the next record would be {again.journal.next_seq}, and {self.oracle.newest_seq} is the last")


__all__ = ["LiveEqualsReplayed", "RecoveredEqualsFolded", "difference", "picture", "settled_on"]
