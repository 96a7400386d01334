"""The proof of a whole journal: every record, every payload, every row, every index, and that they say the same.

In this order, because each rests on the one before:

1. META: identity, tally, checkpoint, facts of queues, each with its crc.
2. Records and payloads, page by page (scan.py), folded from the first event on and compared with the rows as it goes (streaming.py).
3. Rows and indexes in one snapshot: each row's crc, the sum of their digests against the one kept beside them, their numbers, and that
   its first and last events are there; the application's key-values against their events (value_proof.py).  An index is compared with
   the rows by sums of digests, one sum over what the rows lead to and one over what is there, so that neither is held in memory; only
   when they differ is it read again, to say which entry lies.
4. In the last snapshot: what is missing of the seqs; and the state that checkpoint and tail lead to against the fold of everything.

On a journal whose engine runs, 2 takes as long as it takes in short reads; what comes meanwhile is read as well, until the rest is short
enough for a snapshot.  3 and 4 are one snapshot each, and end before anybody is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from journeyman.journal.checkpoint import CHECKPOINT, PROGRESS, QUEUE_FACTS
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.findings import Finding, Findings
from journeyman.journal.identity import IDENTITY, check_features, read_identity
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.log import seq_key
from journeyman.journal.noted import Head, Noted, Proof
from journeyman.journal.recovery import recover
from journeyman.journal.row import (
    CODE_OF_VALUE,
    STATE_KEY,
    add_digest,
    decode_columns,
    decode_named,
    decode_rows,
    digest_value,
    expiry_key,
)
from journeyman.journal.scan import NO_SEQ, Reading
from journeyman.journal.store import Items, Table
from journeyman.journal.streaming import STUMBLES, StreamingFold, compare
from journeyman.journal.tally import TALLY, Tally
from journeyman.journal.value_proof import ValueProof
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.steps import kept_seqs
from journeyman.kernel.taskstate import ROW

_NEAR: Final = 20_000  # events that may be read within the last snapshot
_ROUNDS: Final = 50  # of reading what came meanwhile
_PAGE: Final = 500
_ID, _SEQ, _QUEUE, _STATE, _EXPIRES_AT, _LAST_SEQ = (ROW.index(name) for name in ("id", "seq", "queue", "state", "expires_at", "last_seq"))


@dataclass
class Verdict:
    """Of one examination."""

    path: str
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # findings by table, beyond those listed
    records: int = 0
    payloads: int = 0
    rows: int = 0
    first_seq: int = 0
    head: Head | None = None
    proven_from: int = 0
    proof: Proof | None = None
    complete: bool = True  # false: the file's damage ended the examination
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        return self.complete and not self.counts and (self.proof is None or self.proof.holds)


Tell = Callable[[str, int, int], Any]  # what is read, how much of it is, of how much


class Examination:
    """One, of an open store.  In a process that may be killed by what it reads."""

    def __init__(self, store: LmdbStore, findings: Findings, tell: Tell, against: Head | None = None, *, payloads: bool = True) -> None:
        self.store = store
        self.findings = findings
        self.tell = tell
        self.against = against
        self.verdict = Verdict(store.path)
        self.reading = Reading(store, findings, payloads=payloads)
        self.fold = StreamingFold(store)
        self.values = ValueProof(store, findings)
        self.noted: Noted | None = None
        self._many_absent = _PAGE  # arguments in question at which all are looked at

    def run(self) -> Verdict:
        started = time.perf_counter()
        verdict, reading = self.verdict, self.reading
        whole = self._readable(self._meta)
        if self.against is not None:
            self.noted = Noted(self.against, reading)
        self._events()
        whole = self._readable(self._rows) and whole
        self._readable(lambda: self._last_snapshot(whole))
        verdict.findings, verdict.counts = self.findings.listed, dict(self.findings.counts)
        verdict.records, verdict.payloads = reading.records, reading.payloads
        verdict.seconds = time.perf_counter() - started
        return verdict

    def _readable(self, part: Callable[[], bool]) -> bool:
        """Whether a part could be read and found sound; what LMDB cannot read is noted."""
        try:
            return part()
        except JournalCorrupt as failure:
            self._note_unreadable(failure)
            return False

    def fold_only(self) -> None:
        """Nothing but records, their order and their fold."""
        self._events()
        with self.store.snapshot():
            self._read_on(NO_SEQ)

    # --- 1 ----------------------------------------------------------------------------------------------------------------

    def _meta(self) -> bool:
        """Whether META can be used."""
        before = self.findings.total
        with self.store.snapshot():
            names = [IDENTITY, CHECKPOINT, PROGRESS, TALLY]
            start = b""
            while pairs := self.store.scan(Table.META, start, limit=_PAGE):
                names += [key for key, _ in pairs if key.startswith(QUEUE_FACTS)]
                start = pairs[-1][0] + b"\0"
            for name in names:
                try:
                    decode_named(name, self.store.get(Table.META, name))
                except JournalCorrupt as failure:
                    self.findings.add(Finding("META", str(failure).partition(".  Keep")[0], key=name.hex()))
            try:
                identity = read_identity(self.store)
            except JournalCorrupt:
                return False
            if identity is not None:
                check_features(identity, readonly=True)
        return self.findings.total == before

    # --- 2 ----------------------------------------------------------------------------------------------------------------

    def _events(self) -> None:
        total = self._newest()
        for _ in range(_ROUNDS):
            self._read_on(total)
            newest = self._newest()
            if newest - self.reading.next < _NEAR:
                break
            total = newest

    def _newest(self) -> int:
        """The last seq; 0 where LMDB cannot find it, and the reading ends with what it can reach."""
        try:
            pair = self.store.last(Table.EVENTS)
            return 0 if pair is None else int.from_bytes(pair[0], "big")
        except JournalCorrupt as failure:
            self._note_unreadable(failure)
        return 0

    def _note_unreadable(self, failure: JournalCorrupt) -> None:
        self.findings.add(Finding("FILE", str(failure).partition(": keep")[0]))

    def _read_on(self, last: int) -> None:
        reading, fold = self.reading, self.fold
        with closing(reading.pages(last)) as pages:  # its snapshot ends with it, however this ends
            for events in pages:
                if not self.verdict.first_seq:
                    self.verdict.first_seq = events[0][0] if events else reading.next
                with suppress(JournalCorrupt):  # of a page of the file: 3 says so
                    self.values.take(reading.puts)
                with suppress(JournalCorrupt):  # of META, of a row, of a page: 1 and 3 say which
                    fold.feed(events)
                    if reading.absent:
                        self._judge_ended()
                    fold.settle()
                self.tell("events", reading.next - 1, last)

    def _judge_ended(self) -> None:
        """Arguments, and values of steps, that are not there must have been dropped at an end.  Before the ended tasks are let go."""
        absent, queues = self.reading.absent, self.fold.state.queues
        for task in self.fold.ended:
            if task.state in TERMINAL and queues[task.queue].tasks.get(task.id) is task:
                for seq in absent.keys() & kept_seqs(task):
                    what = absent.pop(seq)[2]
                    if task.keep_payload:
                        self._note_missing(seq, what)
        if len(absent) > self._many_absent:
            self._judge_absent()
            self._many_absent = max(_PAGE, 2 * len(absent))

    def _judge_absent(self) -> None:
        """All that is not there.  What a task still waits for stays in question; other arguments may have been replaced."""
        absent, queues = self.reading.absent, self.fold.state.queues
        for seq, (name, id, what) in list(absent.items()):
            task = queues[name].tasks.get(id) if name in queues else None
            if task is not None and seq in kept_seqs(task) and task.keep_payload:
                if task.state not in TERMINAL:
                    continue
                self._note_missing(seq, what)
            del absent[seq]

    def _note_missing(self, seq: int, what: str) -> None:
        self.findings.add(Finding("PAYLOADS", f"the {what} of record {seq} {'are' if what == 'arguments' else 'is'} missing", seq))

    # --- 3 ----------------------------------------------------------------------------------------------------------------

    def _rows(self) -> bool:
        """Whether the rows can be used."""
        before = self.findings.total
        with self.store.snapshot():
            try:
                tally = Tally.load(self.store)
            except JournalCorrupt:
                return False
            counts = {table: self.store.count(table) for table in (Table.LIVE, Table.TASKS)}
            for table, expected in ((Table.LIVE, tally.live), (Table.TASKS, tally.total())):
                if counts[table] != expected:
                    text = f"table {table.name} holds {counts[table]} rows where {expected} were written"
                    self.findings.add(Finding(table.name, text))
            self._sums(tally, sum(counts.values()))
            self.values.check_rows()
        return self.findings.total == before

    def _sums(self, tally: Tally, total: int) -> None:
        sums = dict.fromkeys((Table.LIVE, Table.TASKS), 0)
        by_state = by_expiry = done = bad = 0
        for table in sums:
            start = b""
            while pairs := self.store.scan(table, start, limit=_PAGE):
                start = pairs[-1][0] + b"\0"
                done += len(pairs)
                self.tell("rows", done, total)
                try:
                    rows = decode_columns(table, pairs)
                except JournalCorrupt:
                    bad += self._bad_rows(table, pairs)
                    continue
                sums[table] += sum([digest_value(value) for _, value in pairs])
                if table is Table.TASKS:
                    state, expiry = _entry_sums(rows, tally)
                    by_state, by_expiry = by_state + state, by_expiry + expiry
        self.verdict.rows = done
        if bad:
            return
        if add_digest(sums[Table.LIVE] + sums[Table.TASKS], 0) != tally.digest:
            self.findings.add(
                Finding("META", "the rows do not add up to the digest kept beside them: rows were changed, lost or put there")
            )
        for table, expected in ((Table.BY_STATE, by_state), (Table.BY_EXPIRY, by_expiry)):
            if expected != self._index_sum(table):
                self._bad_index(table, tally)
        if add_digest(sums[Table.TASKS], 0) != self.fold.matched_sum:  # some were retried or pruned since, or never were in the events
            self._check_events_there()

    def _check_events_there(self) -> None:
        """A row whose first and last events are there is one that the fold has met, and judged."""
        start = b""
        while pairs := self.store.scan(Table.TASKS, start, limit=_PAGE):
            start = pairs[-1][0] + b"\0"
            wanted = [(seq, row[_ID]) for row, _ in decode_columns(Table.TASKS, pairs) for seq in {row[_SEQ], row[_LAST_SEQ]}]
            values = self.store.get_many(Table.EVENTS, [seq_key(seq) for seq, _ in wanted])
            for (seq, id), value in zip(wanted, values, strict=True):
                if value is None:
                    text = f"the row of task {id_text(id)} names record {seq}, which is missing"
                    self.findings.add(Finding("TASKS", text, seq, key=id.hex()))

    def _bad_rows(self, table: Table, pairs: Items) -> int:
        count = 0
        for key, value in pairs:
            try:
                decode_rows(table, [(key, value)])
            except JournalCorrupt as failure:
                count += 1
                self.findings.add(Finding(table.name, str(failure).partition(".  Keep")[0], key=key.hex()))
        return count

    def _index_sum(self, table: Table) -> int:
        total, start = 0, b""
        while pairs := self.store.scan(table, start, limit=_PAGE):
            total += sum(hash(key + value) for key, value in pairs)
            start = pairs[-1][0] + b"\0"
        return total

    def _bad_index(self, table: Table, tally: Tally) -> None:
        """Which entries lie, which are missing."""
        before = self.findings.total
        start = b""
        while pairs := self.store.scan(table, start, limit=_PAGE):
            start = pairs[-1][0] + b"\0"
            ids = [value[:16] for _, value in pairs]
            for (key, value), row in zip(pairs, self.store.get_many(Table.TASKS, ids), strict=True):
                if row is None or _places(table, tally, [(value[:16], row)]) != [(key, value)]:
                    self.findings.add(Finding(table.name, f"the entry {key.hex()} names a task that has no such row", key=key.hex()))
        start = b""
        while pairs := self.store.scan(Table.TASKS, start, limit=_PAGE):
            start = pairs[-1][0] + b"\0"
            places = _places(table, tally, pairs)
            for (key, value), there in zip(places, self.store.get_many(table, [key for key, _ in places]), strict=True):
                if there != value:
                    self.findings.add(Finding(table.name, f"task {value[:16].hex()} lacks its entry {key.hex()}", key=key.hex()))
        if self.findings.total == before:
            self.findings.add(Finding(table.name, "its entries are not those that the rows lead to"))

    # --- 4 ----------------------------------------------------------------------------------------------------------------

    def _last_snapshot(self, whole: bool) -> bool:
        reading, fold = self.reading, self.fold
        with self.store.snapshot():
            self._read_on(NO_SEQ)
            try:
                reading.chain.finish()
            except JournalCorrupt as failure:
                if reading.records and not reading.bad:
                    self.findings.add(Finding("CHAIN", str(failure), reading.next - 1))
            if reading.chain.head is not None and reading.records:
                self.verdict.head = Head(reading.next - 1, reading.chain.head)
                self.verdict.proven_from = reading.proven_from()
            reading.check_gaps()
            reading.check_nothing_behind()
            self.values.check_ends()
            self._judge_absent()
            for seq in sorted(reading.absent):
                self._note_missing(seq, reading.absent[seq][2])
            self.tell("state", 0, 1)
            if whole and not reading.bad:
                self._same_state()
            self._tell_differences(fold)
            if self.noted is not None:
                self.verdict.proof = self.noted.proof(self.verdict.first_seq)
        self.tell("state", 1, 1)
        return True

    def _same_state(self) -> None:
        try:
            theirs = recover(self.store)
        except JournalCorrupt as failure:
            if not self.findings.total:
                self.findings.add(Finding("STATE", f"the journal cannot be recovered: {failure}", failure.seq))
            return
        except STUMBLES as failure:
            self.findings.add(Finding("STATE", f"the journal cannot be recovered with this code: {failure!r}"))
            return
        compare(self.fold, theirs.state)

    def _tell_differences(self, fold: StreamingFold) -> None:
        if self.findings.counts["EVENTS"]:  # what does not add up then is only what follows from that
            return
        for difference in fold.differences:
            self.findings.add(Finding("STATE", difference.text, difference.seq, key=difference.task.hex() if difference.task else None))
        if fold.more:
            self.findings.counts["STATE"] += fold.more
        for task in fold.rowless:  # neither pruned while we read, nor is its id another's by now
            if fold.there(task.seq) and not fold.superseded(task) and fold.settled_otherwise(task):
                self.findings.add(Finding("STATE", f"the task of record {task.seq} has ended, but no table has it as it ended", task.seq))


def _entry_sums(rows: list[tuple[list[Any], int]], tally: Tally) -> tuple[int, int]:
    """Sums over the index entries that these rows lead to.  Python's hash of bytes is SipHash with a key of this process's own: nothing
    that was written before can have been made to fit it."""
    by_state = by_expiry = 0
    ordinals, codes, of_state = tally.ordinals, CODE_OF_VALUE, STATE_KEY.pack
    for row, _ in rows:
        id, seq, code, expires_at = row[_ID], row[_SEQ], codes[row[_STATE]], row[_EXPIRES_AT]
        ordinal = ordinals.get(row[_QUEUE], 0)
        by_state += hash(of_state(ordinal, code, seq) + id)
        if expires_at is not None:
            by_expiry += hash(expiry_key(expires_at, seq) + id + ordinal.to_bytes(4, "big") + bytes((code,)))
    return by_state, by_expiry


def _places(table: Table, tally: Tally, pairs: Items) -> Items:
    """The entries of an index that these rows of TASKS lead to."""
    places = [tally.place(task) for task, _ in decode_rows(Table.TASKS, pairs)]
    if table is Table.BY_STATE:
        return [(place.state_key, place.id) for place in places]
    return [(place.expiry_key, place.expiry_value) for place in places if place.expiry_key is not None]


__all__ = ["Examination", "Head", "Proof", "Verdict"]
