"""A new journal of all that can be saved of a damaged one.  The damaged one is only read.

Problem.  What is left must be a journal like any other: it opens, its records chain, its seqs have no gap that nothing tells of, its tables
are what a fold of its events leads to, `verify` finds it sound.  Choice: records go over byte by byte under their own seqs, so chain hashes
that were noted earlier still say what they can.  Those of tasks that cannot be kept (judge.py) are left out as if they were pruned.  At the
end comes one commit of the repair's own:

- TaskCancelled for each task that had not ended and has lost something, by "repair";
- ValuePut, by "repair", for each key of the application whose value is lost: it has none from then on (lost_values.py);
- QueuePaused, by "repair", for each queue with tasks of which nobody can say whether they had ended;
- JournalCompacted: it accounts for every seq that is missing, and carries the facts of all queues, those of the damaged journal's
  checkpoint included, where the events that set them are lost.

Tables are made by the ordinary checkpoint, at every hundred thousand records, from the fold of what was written; none is copied.

Three passes: salvage into a sorted scratch copy, judge, write.  Memory holds unfinished tasks and what is damaged; the disk holds, for a
while, the journal three times.  The work is done in a folder beside the destination, which gets its name when all is done (building.py).

DEST is a journal of its own: it gets an identity and a lineage of its own, as an engine would make them.  It is no copy of the damaged one
(records may be missing, and the last commit is its own), and two journals of one identity would tell whoever compares them that either
may stand for the other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from journeyman.journal.building import SCRATCH, building
from journeyman.journal.checkpoint import CHECKPOINT, QUEUE_FACTS
from journeyman.journal.collector import without_collector
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalLocked, JournalVersion, NotAJournal, Unreadable
from journeyman.journal.identity import IDENTITY, JOURNAL_FORMAT, read_sidecar, require_data
from journeyman.journal.judge import Affected, Judgement, judge
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import owner_of
from journeyman.journal.log import seq_key
from journeyman.journal.lost_values import taken_out, without_value
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import ENTERED, open_store
from journeyman.journal.pages import PageFile
from journeyman.journal.plain import read_plain
from journeyman.journal.record import FIRST, Chain, Ignored, decode_records
from journeyman.journal.recovery import Recovered, recover
from journeyman.journal.row import decode_rows
from journeyman.journal.salvage import BATCH, Salvage, Tell, accounts_for, salvage
from journeyman.journal.store import Batch, Items, Table
from journeyman.journal.values import Rows, note_put, row_key, rows_batch
from journeyman.journal.wal import acknowledged, read_log
from journeyman.kernel.events import (
    Event,
    JournalCompacted,
    QueuePaused,
    TaskCancelled,
    TaskRetried,
    TransitionRejected,
    ValuePut,
)
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.values import Name
from journeyman.kernel.world import JournalState, fold

BY: Final = "repair"
_CHECKPOINT: Final = 100_000
T = TypeVar("T")


@dataclass
class Repaired:
    """What became of a journal."""

    source: str
    destination: str
    unreadable: list[str] = field(default_factory=list)  # files beside data.mdb of which nothing could be had, and why
    records: int = 0  # that went over
    lost: int = 0  # that nobody can read any more
    left_out: int = 0  # sound ones of tasks that could not be kept
    strays: int = 0  # that no table led to
    mended: dict[int, str] = field(default_factory=dict)
    vouched: dict[int, str] = field(default_factory=dict)  # what the chain says of a record that was put right (journal/vouched.py)
    affected: list[Affected] = field(default_factory=list)
    doubtful: list[Affected] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    values: list[Name] = field(default_factory=list)  # keys of the application whose value is lost

    @property
    def whole(self) -> bool:
        """Whether every task and every value is known to be as it was."""
        return not (self.affected or self.doubtful or self.lost or self.unreadable or self.values)


def repair(
    path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    tell: Tell = lambda what, done, total: None,
    check: Callable[[str], object] = lambda directory: None,
) -> Repaired:
    """Save what can be saved of the journal in `path` into a new one in `destination`, which must not exist or be empty.

    `check` is called with the folder of the finished journal, before it gets its name.  An error, also of `check`, leaves nothing behind.

    JournalLocked while an engine has it open; JournalCorrupt if nothing can be saved; JournalVersion, NoJournal, NotAJournal, JournalError.
    """
    source, target = os.path.abspath(os.fspath(path)), os.path.abspath(os.fspath(destination))
    _refuse(source, target)
    beside = _Beside(source)
    with PageFile(os.path.join(source, "data.mdb")) as file, building(target) as directory:
        with _scratch(directory) as scratch, without_collector():
            found = salvage(file, scratch, tell, beside.log)
            _refuse_nothing(source, file, found)
            lost = _lost(found, beside.answered)
            judged = judge(found, tell, lost)
            report = Repaired(source, target, beside.unreadable, lost=lost, strays=found.strays, mended=found.mended, vouched=found.vouched)
            _write(found, judged, directory, report, tell)
        if beside.entered is not None:
            Path(directory, ENTERED).write_bytes(beside.entered)
        check(directory)
    return report


class _Beside:
    """What lies beside data.mdb.  A file that cannot be read is done without: what it alone had counts as lost."""

    def __init__(self, source: str) -> None:
        self.unreadable: list[str] = []
        self.log = self._as_far_as(lambda: read_log(source)) or b""
        self.answered = self._as_far_as(lambda: acknowledged(source)) or 0
        self.entered = self._as_far_as(lambda: read_plain(os.path.join(source, ENTERED)))  # which handlers a crash found entered

    def _as_far_as(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (JournalCorrupt, Unreadable) as failure:
            self.unreadable.append(str(failure).partition(".  ")[0])
            return None


# --- before and after ---------------------------------------------------------------------------------------------------------


def _refuse(source: str, target: str) -> None:
    require_data(source)
    owner = owner_of(source)
    if owner is not None:
        who = f"process {owner}" if owner else "a process that cannot be seen from here (another container?)"
        raise JournalLocked(f"the journal at {source} is open in {who}: stop its engine, then repair", owner)
    if os.path.commonpath([source, target]) == source:
        raise JournalError(f"{target} lies within the damaged journal, which is only read: give the new one another place")


def _refuse_nothing(source: str, file: PageFile, found: Salvage) -> None:
    identity = found.meta.get(IDENTITY)
    if identity is not None and identity.get("format", 0) > JOURNAL_FORMAT:
        raise JournalVersion(f"the journal at {source} has format {identity['format']}: repair it with the version that wrote it")
    if found.records:
        return
    if file.is_lmdb and not file.has_tables and read_sidecar(source) is None:
        raise NotAJournal(source)
    raise JournalCorrupt(f"nothing can be saved of the journal at {source}: not one record is left that can be read.  Restore a backup")


@contextmanager
def _scratch(directory: str) -> Iterator[LmdbStore]:
    place = os.path.join(directory, SCRATCH)
    os.mkdir(place, 0o700)
    try:
        store = LmdbStore(place, durability="relaxed")
        try:
            yield store
        finally:
            store.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _lost(found: Salvage, answered: int) -> int:
    """Records that are missing and that no prune or compaction tells of.  `answered`: a seq up to which somebody was told."""
    seqs = list(found.told)
    there = found.store.get_many(Table.EVENTS, [seq_key(seq) for seq in seqs])
    told = sum(found.told[seq] for seq, value in zip(seqs, there, strict=True) if value is not None)
    newest = found.store.last(Table.EVENTS)
    highest = 0 if newest is None else int.from_bytes(newest[0], "big")
    through: int = found.meta.get(CHECKPOINT, {"seq": 0})["seq"]
    highest = max(highest, through, answered, *found.damaged)
    return max(0, highest - found.store.count(Table.EVENTS) - told)


# --- writing ------------------------------------------------------------------------------------------------------------------


def _write(found: Salvage, judged: Judgement, target: str, report: Repaired, tell: Tell) -> None:
    store = open_store(target, durability="relaxed")
    try:
        writer = _Writer(found, judged, recover(store), report, tell)
        writer.run()
    finally:
        store.close()


class _Writer:
    """Fills the new journal."""

    def __init__(self, found: Salvage, judged: Judgement, opened: Recovered, report: Repaired, tell: Tell) -> None:
        self.found, self.judged, self.report, self.tell = found, judged, report, tell
        self.opened, self.state, self.journal, self.checkpoint = opened, opened.state, opened.journal, opened.checkpoint
        self.store = opened.journal.store
        self.chain: Chain | None = None
        self.told = 0
        self.head = bytes(16)  # the newest hash that is known of a commit

    def run(self) -> None:
        first = 1
        while pairs := self.found.store.scan(Table.EVENTS, seq_key(first), limit=BATCH):
            first = int.from_bytes(pairs[-1][0], "big") + 1
            self._copy(pairs)
            self.tell("writing records", self.report.records + self.report.left_out, self.found.records)
        self._last_commit()
        self._take_checkpoint()

    def _copy(self, pairs: Items) -> None:
        events = decode_records(pairs)
        kept = [(pair, found) for pair, found in zip(pairs, events, strict=True) if self.judged.keeps(*found)]
        self.report.left_out += len(pairs) - len(kept)
        self.report.records += len(kept)
        if not kept:
            return
        batch = Batch()
        batch.put(Table.EVENTS, [pair for pair, _ in kept], append=True)
        keys = [pair[0] for pair, _ in kept]
        values = self.found.store.get_many(Table.PAYLOADS, keys)
        batch.put(Table.PAYLOADS, [(key, value) for key, value in zip(keys, values, strict=True) if value is not None], append=True)
        rows: Rows = {}
        for (key, value), (seq, event) in kept:
            self._fold(seq, event)
            self._link(int.from_bytes(key, "big"), value)
            if type(event) is ValuePut:
                note_put(rows, seq, event)
        batch.absorb(rows_batch(rows))
        self.journal.note([found for _, found in kept])
        append_now(self.store, batch)
        last = kept[-1][1][0]
        self.journal.sealed, self.journal.next_seq = last, last + 1
        assert self.chain is not None
        if self.chain.head is not None:
            self.journal.chain = self.chain.head
        if last - self.checkpoint.through_seq >= _CHECKPOINT:  # whatever ends here: nobody opens it before the last one
            self._take_checkpoint()

    def _fold(self, seq: int, event: Event | Ignored) -> None:
        self.told += accounts_for(event)
        if isinstance(event, Ignored):
            return
        if type(event) is TaskRetried:
            self.checkpoint.before_apply(event)
        elif type(event) is TransitionRejected:
            self._call_back(event)
        fold(self.state, event, seq)

    def _call_back(self, event: TransitionRejected) -> None:
        """A stale word about a task that a checkpoint has settled: it comes back, as recovery brings it."""
        queue, value = self.state.queue(event.queue), None
        if event.task not in queue.tasks:
            value = self.store.get(Table.TASKS, event.task)
        if value is not None:
            task = decode_rows(Table.TASKS, [(event.task, value)])[0][0]
            queue.tasks[task.id] = task
            queue.agenda.rosters[task.state].add(task)
            self.opened.tally.shadow(self.opened.tally.place(task))

    def _link(self, seq: int, value: bytes) -> None:
        """Follow the chain as far as it goes; where records are missing it begins anew."""
        if self.chain is None:
            self.chain = Chain(seq, None)
            if not value[2] & FIRST:
                self.chain = Chain(seq - 1, None)
        try:
            self.chain.add(seq, value, value[2])
        except JournalCorrupt:
            self.chain = Chain(seq - 1, None)
            self.chain.add(seq, value, value[2])

    def _take_checkpoint(self) -> None:
        self.checkpoint.begin(self.state, self.journal.sealed, self.state.last_at)
        while (chunk := self.checkpoint.next_chunk(BATCH)) is not None:
            if chunk:
                append_now(self.store, self.journal.seal((), extra=chunk))

    # --- the repair's own commit ------------------------------------------------------------------------------------------

    def _last_commit(self) -> None:
        items: list[Event] = list(self._endings())
        self._note_doubts(items)
        state, report = self.state, self.report
        lost = list(without_value(self.store))
        report.values = [name for name, _ in lost]
        items += [taken_out(state.last_at, state.boots, name, former, BY) for name, former in lost]
        report.affected = sorted(self.judged.affected.values(), key=lambda one: one.first)
        missing = self.journal.sealed - self.store.count(Table.EVENTS) - self.told
        if not items and missing <= 0:
            return
        self._merge_facts()
        first = self.journal.next_seq
        for seq, event in enumerate(items, first):
            fold(self.state, event, seq)
        items.append(self._account(max(missing, 0)))
        fold(self.state, items[-1], first + len(items) - 1)
        self.journal.take(len(items))
        rows: Rows = {row_key(name): None for name in report.values}
        append_now(self.store, self.journal.seal(list(enumerate(items, first)), extra=rows_batch(rows)))

    def _endings(self) -> Iterator[Event]:
        for id, affected in list(self.judged.affected.items()):
            if affected.what != "cancelled":
                continue
            queue = self.state.queue(affected.queue)
            task = queue.tasks.get(id)
            if task is None or task.state in TERMINAL:
                affected.what, affected.why = "kept", affected.why + "; it stands as it had ended before that"
                continue
            keep = self.store.get(Table.PAYLOADS, seq_key(task.payload_seq)) is not None
            attempt = task.attempt if task.state is State.RUNNING else 0
            queue.qseq += 1
            head = (self.state.last_at, queue.name, queue.qseq, queue.epoch)
            yield TaskCancelled(*head, id, attempt, 0, None, keep, f"{BY}: {affected.why}", BY)

    def _note_doubts(self, items: list[Event]) -> None:
        for id, affected in self.judged.doubtful.items():
            queue = self.state.queue(affected.queue)
            if id in queue.tasks and queue.tasks[id].state not in TERMINAL:
                self.report.doubtful.append(affected)
        for name in sorted({affected.queue for affected in self.report.doubtful}):
            queue = self.state.queue(name)
            queue.qseq += 1
            reason = "records are lost that may have been the ends of tasks here: read the report, cancel what had ended, then resume"
            items.append(QueuePaused(self.state.last_at, name, queue.qseq, queue.epoch, BY, reason))
            self.report.paused.append(name)

    def _merge_facts(self) -> None:
        """What the damaged journal's checkpoint knew of queues, where it is younger than the events that are left."""
        for key, facts in self.found.meta.items():
            if key.startswith(QUEUE_FACTS):
                self.state.queue(key[len(QUEUE_FACTS) :].decode()).merge_facts(facts)
        known = self.found.meta.get(CHECKPOINT, {}).get("facts")
        if known:
            self.state.boots = max(self.state.boots, known["boots"])
            self.state.gone_seq = max(self.state.gone_seq, known.get("gone_seq", 0))

    def _account(self, missing: int) -> JournalCompacted:
        state: JournalState = self.state
        facts = {name: queue.facts() for name, queue in sorted(state.queues.items())}
        if missing:  # of which queue it was, nobody can say any more
            for of_queue in facts.values():
                of_queue["gone_seq"] = self.journal.sealed
        totals = {"boots": state.boots, "records": missing, "tasks": 0, "task_records": 0}
        gone_seq = self.journal.sealed if missing else state.gone_seq
        why = {"gone_seq": gone_seq, "by": BY, "left_out": len(self.judged.out), "lost": self.report.lost}
        return JournalCompacted(state.last_at, "", 0, state.boots, self.journal.sealed, facts, totals, why)


__all__ = ["BY", "Repaired", "repair"]
