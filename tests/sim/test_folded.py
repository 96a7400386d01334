"""The fold that is kept from one comparison to the next is the fold of what the disk holds, whatever happens to the disk."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.log import Journal
from journeyman.journal.record import decode_records
from journeyman.journal.recovery import fold_everything
from journeyman.journal.store import Table
from journeyman.kernel.events import TaskSubmitted
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import ROW, TaskState
from journeyman.kernel.world import JournalState
from journeyman.sim.batch import run_seed
from journeyman.sim.disk import Disk
from journeyman.sim.invariants import folded
from journeyman.sim.invariants.folded import Folded, facts
from journeyman.sim.invariants.replay import picture

OTHER = {
    "state": State.FAILED,
    "options": {"key": "k"},
    "error": ("E", "message", None, []),
    "cancel": ("why", "api"),
    "rejected": [(1, "TaskSucceeded")],
    "keep_payload": False,
    "waits_for": {bytes(16)},
}


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_it_is_what_the_disk_holds(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Folded.state
    anew: list[bool] = []

    def both(self: Folded) -> JournalState:
        anew.append(self._anew)
        state = kept(self)
        assert picture(state) == picture(fold_everything(Journal(self._disk)))
        return state

    monkeypatch.setattr(Folded, "state", both)
    monkeypatch.setattr(folded, "PENDING_KEPT", 40)
    for seed in range(first, first + 10):
        assert run_seed(seed).failure is None
    assert set(anew) == {False, True}, "both ways to it were taken"


def test_a_record_that_has_become_another_is_read_anew() -> None:
    disk = Disk()
    journal, kept = Journal(disk), Folded(disk)
    for n in range(1, 4):
        event = TaskSubmitted(n, "q", n, 1, bytes((n,)) * 16, "h", 5, 1, 0, 3, bytes(16), 0, None, None)
        batch = journal.seal([(journal.take(1), event)])
        disk.commit(batch)
        [(_, items, _)] = batch.puts
        kept.written(batch, items, decode_records(items))
    rows = disk.tables[Table.EVENTS].rows
    assert len(kept.state().queues["q"].tasks) == 3
    key = (2).to_bytes(8, "big")
    for bit in (0, 1):  # the same bytes, and others
        rows[key] = rows[key][:-1] + bytes((rows[key][-1] ^ bit,))
        kept.start_anew()
        with pytest.raises(JournalCorrupt) if bit else nullcontext():
            assert len(kept.state().queues["q"].tasks) == 3


@pytest.mark.parametrize("name", ROW)
def test_every_fact_of_a_task_is_compared(name: str) -> None:
    def task() -> TaskState:
        event = TaskSubmitted(1, "q", 1, 1, bytes(16), "h", 5, 1, 0, 3, b"d", 0, None, None)
        return TaskState(event, 1, State.PENDING)

    one, other = task(), task()
    assert facts(one) == facts(other)
    kept, another = ("later", (9,)) if name == "seqs" else (name, OTHER.get(name, "another"))
    setattr(other, kept, another)
    assert facts(one) != facts(other)
    setattr(one, kept, another)
    assert facts(one) == facts(other)
