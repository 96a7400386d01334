"""Durable steps: done once, for as long as the task is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeyman.journal.digest import digest
from journeyman.journal.log import seq_key
from journeyman.journal.store import Table
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.work import Work

if TYPE_CHECKING:
    from journeyman.sim.witness import Witness


class StepsRunOnce(Invariant):
    """A step whose value a handler has had is never run again for that task; no handler has it before it is durable; and the values lie on
    the disk exactly as long as the arguments do.
    """

    name = "a done step is not run again"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._begun: set[tuple[int, str]] = set()  # (seq of the task, name) of those under way when last heard of
        self._came: list[tuple[Work, int]] = []  # in this commit: tasks, and the seqs of steps recorded
        self._gone: list[tuple[Work, int]] = []  # in this commit: tasks that were dropped, and the seqs of their steps

    def step_begun(self, work: Work, name: str) -> None:
        if name in work.steps:
            self.broken(f"step {name!r} of {work}, done at seq {work.steps[name][0]}, is run again")
        if (work.seq, name) in self._begun:
            self.witness.reach("a step run again")
        self._begun.add((work.seq, name))

    def step_returned(self, work: Work, name: str) -> None:
        if name not in work.steps:
            self.broken(f"the handler of {work} has what step {name!r} came to, which is not durable")
        elif (work.seq, name) in self._begun:
            self._begun.remove((work.seq, name))
        else:
            self.witness.reach("a done step passed over")

    def step_recorded(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        if event.name in work.steps:
            self.broken(f"step {event.name!r} of {work} is recorded at seq {work.steps[event.name][0]} and again at {seq}")
        if event.result_len:
            self._came.append((work, seq))

    def _end(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and not event.keep_payload:
            self._gone += [(work, at) for at, size, _ in work.steps.values() if size]

    succeeded = dead = cancelled = interrupted = _end

    def pruned(self, seq: int, event: Any, work: Work | None) -> None:
        for first, _, _ in event.entries:
            found = self.oracle.by_seq.get(first)
            if found is not None:
                self._gone += [(found, at) for at, size, _ in found.steps.values() if size]
                self._begun -= {(found.seq, name) for name in found.steps}

    def commit(self, batch: Any) -> None:
        if not self._came and not self._gone:
            return
        gone = {at for _, at in self._gone}
        for work, seq in self._came:
            if seq not in gone and not self._is_there(work, seq):
                self.broken(f"what the step of {work} at seq {seq} came to is not on the disk as it was recorded")
        for work, seq in self._gone:
            if self.witness.disk.get(Table.PAYLOADS, seq_key(seq)) is not None:
                self.broken(f"what the step of {work} at seq {seq} came to is left on the disk")
        self._came, self._gone = [], []

    def _is_there(self, work: Work, seq: int) -> bool:
        data = self.witness.disk.get(Table.PAYLOADS, seq_key(seq))
        return data is not None and any(at == seq and digest(data) == stored for at, _, stored in work.steps.values())


__all__ = ["StepsRunOnce"]
