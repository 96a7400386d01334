"""Reading every record and every payload of a journal, and going on after damage.

Problem.  The reader that recovery uses stops at the first bad record, as it must.  An operator wants to know how much is damaged, where,
and what the rest is worth.  Choice: pages go through that very reader, at its speed; only a page that it refuses is read again record by
record, each fault noted with its place, and the chain taken up again behind it as behind a record that prune has taken.

Each page is read, with the payloads that lie in its range of seqs, in one short snapshot, so prune never shows half of itself within a
page; between pages it may take tasks away, and says so by a TasksPruned that is read later.

Gaps.  Seqs are dense when written, so whatever is missing must be told of by TasksPruned and JournalCompacted.  The numbers are compared
as of one snapshot: seqs given out less records there are, against the sum of what those events name.  That finds a lost record, not where
it was; where it was is what a gap that no entry of a prune spans tells.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from struct import Struct
from typing import Any, Final
from zlib import crc32

from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt, JournalVersion
from journeyman.journal.findings import Finding, Findings, mended
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.log import seq_key
from journeyman.journal.record import FIRST, GENESIS, LAST, Chain, Ignored, decode_records
from journeyman.journal.store import Items, Table
from journeyman.kernel.events import (
    Event,
    JournalCompacted,
    StepRecorded,
    TaskRescheduled,
    TasksPruned,
    TaskSubmitted,
    TaskSucceeded,
    ValuePut,
)

PAGE: Final = 500  # records; larger pages fall out of the processor's cache between reading and folding
NO_SEQ: Final = (1 << 64) - 2
_HEADER: Final = Struct(">BBBBI")
_BRINGING: Final = frozenset({TaskSubmitted, TaskSucceeded, TaskRescheduled, StepRecorded, ValuePut})
_VALUED: Final = (TaskSucceeded, StepRecorded)
_GAPS: Final = 100_000  # gaps and intervals of prunes remembered, to say where a record is missing


class Reading:
    """One pass over EVENTS and PAYLOADS."""

    def __init__(self, store: LmdbStore, findings: Findings, *, payloads: bool = True) -> None:
        self.store = store
        self.findings = findings
        self.records = 0
        self.payloads = 0
        self.next = 1  # the first seq not read yet
        self.chain = Chain(1, GENESIS)
        self.broken_at = 0  # the first record behind the newest place where the chain is broken; 0: nowhere
        self.heard: Callable[[bytes], Any] = lambda hash: None  # hears the hash of the commit that is looked for
        self.wanted = 0  # that seq
        self.told: dict[int, int] = {}  # seq of a TasksPruned or JournalCompacted -> records it accounts for
        self.bad: set[int] = set()  # seqs whose records cannot be read
        self.absent: dict[int, tuple[str, bytes, str]] = {}  # seq of what is not there -> queue, task and what it is, until an end says why
        self.puts: list[tuple[int, ValuePut, bool]] = []  # of the newest page, each with whether its value is there
        self._gaps: list[tuple[int, int]] = []
        self._spans: list[tuple[int, int]] = []
        self._compacted = False
        self._with_payloads = payloads

    def pages(self, last: int = NO_SEQ) -> Generator[list[tuple[int, Event | Ignored]], None, None]:
        """Every sound event up to `last`, page by page.  Within a page the caller reads the same snapshot."""
        step = 1
        while self.next <= last:
            with self.store.snapshot():
                pairs = self._scan(step, last)
                if pairs is None:  # LMDB cannot read here, and its snapshot is of no more use: on behind it, in greater and greater steps
                    self.next, step = self.next + step, step * 2
                    self.chain = Chain(self.next - 1, None)
                    continue
                if not pairs:
                    return
                step = 1
                events = self._checked(pairs)
                top = int.from_bytes(pairs[-1][0], "big")
                if self._with_payloads:
                    self._check_payloads(events, self.next, top)
                self.records += len(pairs)
                self.next = top + 1
                yield events

    def _scan(self, step: int, last: int) -> Items | None:
        try:
            return self.store.scan(Table.EVENTS, seq_key(self.next), seq_key(last + 1), limit=PAGE)
        except JournalCorrupt as failure:
            if step == 1:
                self.findings.add(Finding("EVENTS", f"cannot be read from seq {self.next} on: {failure}".partition(": keep")[0], self.next))
            self.bad.add(self.next)
            return None

    # --- records ----------------------------------------------------------------------------------------------------------

    def _checked(self, pairs: Items) -> list[tuple[int, Event | Ignored]]:
        before = self.chain.expected
        self._note_gaps(pairs)
        chain, saved = self.chain, self.chain.copy()
        if not self.wanted or not before <= self.wanted <= int.from_bytes(pairs[-1][0], "big"):
            holes = chain.holes
            try:
                events = decode_records(pairs, chain)
            except (JournalCorrupt, JournalVersion):
                self.chain = saved
            else:
                if chain.holes != holes:
                    self.broken_at = _behind_gap(pairs)
                self._account(events)
                return events
        events = self._one_by_one(pairs)
        self._account(events)
        return events

    def _one_by_one(self, pairs: Items) -> list[tuple[int, Event | Ignored]]:
        events: list[tuple[int, Event | Ignored]] = []
        for pair in pairs:
            seq, value = int.from_bytes(pair[0], "big"), pair[1]
            holes = self.chain.holes
            try:
                found = decode_records([pair])
            except JournalCorrupt as failure:
                self._damaged(seq, pair, failure)
                self.bad.add(seq)
                self.chain = Chain(seq, None)  # behind it as behind a record that is gone
                self.broken_at = seq + 1
                continue
            self._link(seq, value)
            if self.chain.holes != holes:
                self.broken_at = seq
            events += found
        return events

    def _link(self, seq: int, value: bytes) -> None:
        flags = value[2]
        try:
            self.chain.add(seq, value, flags)
        except JournalCorrupt as failure:
            self.findings.add(Finding("CHAIN", str(failure), seq))
            self.chain = Chain(seq - 1, None)
            self.chain.add(seq, value, flags)
            self.broken_at = seq
        if seq == self.wanted and flags & LAST and self.chain.head is not None:
            self.heard(self.chain.head)

    def _damaged(self, seq: int, pair: tuple[bytes, bytes], failure: JournalCorrupt) -> None:
        key, value = pair
        found = None if len(value) < 8 else mended(value, 0, lambda draft: right_record(key, draft))
        where = "" if found is None else f"; byte {found[0]} is {value[found[0]]:#04x} and should be {found[1][found[0]]:#04x}"
        text = str(failure).partition(".  Keep")[0] + where
        self.findings.add(Finding("EVENTS", text, seq, None if found is None else found[0]))

    # --- payloads ---------------------------------------------------------------------------------------------------------

    def _check_payloads(self, events: list[tuple[int, Event | Ignored]], first: int, top: int) -> None:
        expected: dict[int, tuple[int, bytes]] = {}
        bringing: dict[int, Any] = {}
        for seq, event in events:
            kind = type(event)
            if kind is TaskSubmitted:  # most of them
                expected[seq] = event[9:11]  # type: ignore[assignment]
                bringing[seq] = event
            elif kind in _BRINGING and (named := payload_of(event)) is not None:
                expected[seq] = named
                bringing[seq] = event
            elif kind is ValuePut:
                bringing[seq] = event
        while first <= top:
            try:
                pairs = self.store.scan(Table.PAYLOADS, seq_key(first), seq_key(top + 1), limit=PAGE)
            except JournalCorrupt as failure:
                text = f"cannot be read between seq {first} and {top}: {failure}".partition(": keep")[0]
                self.findings.add(Finding("PAYLOADS", text, first))
                self.puts = []
                return
            for key, data in pairs:
                seq = int.from_bytes(key, "big")
                named = expected.pop(seq, None)
                if named is None or len(data) != named[0] or digest(data) != named[1]:
                    self._bad_payload(seq, data, named)
            self.payloads += len(pairs)
            if not pairs:
                break
            first = int.from_bytes(pairs[-1][0], "big") + 1
        self.puts = [(seq, event, seq not in expected) for seq, event in bringing.items() if type(event) is ValuePut]
        for seq in expected:
            event = bringing[seq]
            if type(event) is TaskSucceeded:
                self.findings.add(Finding("PAYLOADS", f"the result of record {seq} is missing", seq))
            elif type(event) is not ValuePut:  # of those the table says which must be there (journal/value_proof.py)
                self.absent[seq] = event[1], event[4], "value" if type(event) is StepRecorded else "arguments"

    def _bad_payload(self, seq: int, data: bytes, named: tuple[int, bytes] | None) -> None:
        if named is None:
            if seq not in self.bad:
                self.findings.add(Finding("PAYLOADS", f"a payload lies at seq {seq}, whose record names none", seq))
        elif len(data) != named[0]:
            self.findings.add(Finding("PAYLOADS", f"the payload of record {seq} has {len(data)} bytes where {named[0]} were written", seq))
        else:
            found = mended(data, 0, lambda draft: digest(draft) == named[1])
            where = "" if found is None else f"; byte {found[0]} is {data[found[0]]:#04x} and should be {found[1][found[0]]:#04x}"
            text = f"the payload of record {seq} does not match its digest{where}"
            self.findings.add(Finding("PAYLOADS", text, seq, None if found is None else found[0]))

    def check_nothing_behind(self) -> None:
        """Payloads behind the last record, of which nothing can have told, in the caller's snapshot, after everything in it was read."""
        with suppress(JournalCorrupt):  # of a page: which is known by now
            for key, _ in self.store.scan(Table.PAYLOADS, seq_key(self.next), limit=PAGE):
                seq = int.from_bytes(key, "big")
                self.findings.add(Finding("PAYLOADS", f"a payload lies at seq {seq}, behind the last record", seq))

    # --- gaps -------------------------------------------------------------------------------------------------------------

    def _note_gaps(self, pairs: Items) -> None:
        first, last = int.from_bytes(pairs[0][0], "big"), int.from_bytes(pairs[-1][0], "big")
        if last - self.next + 1 == len(pairs) or len(self._gaps) >= _GAPS:
            return
        expected = self.next
        for key, _ in pairs if first != expected or last - first + 1 != len(pairs) else ():
            seq = int.from_bytes(key, "big")
            if seq != expected:
                self._gaps.append((expected, seq - 1))
            expected = seq + 1

    def _account(self, events: Sequence[tuple[int, Any]]) -> None:
        for seq, event in events:
            kind = type(event)
            if kind is TasksPruned:
                entries: list[list[int]] = event.entries
                self.told[seq] = sum(entry[2] for entry in entries)
                if len(self._spans) < _GAPS:
                    self._spans += [(entry[0], entry[1]) for entry in entries]
            elif kind is JournalCompacted:
                totals = event.totals
                self.told[seq] = totals.get("records", 0) + totals.get("task_records", 0)
                self._compacted = True

    def proven_from(self) -> int:
        """The first record of the unbroken run of whole commits that ends where the reading is: what its newest hash speaks for."""
        first = self.broken_at
        while first and (pairs := self.store.scan(Table.EVENTS, seq_key(first), limit=PAGE)):
            for key, value in pairs:
                if value[2] & FIRST:
                    return int.from_bytes(key, "big")
            first = int.from_bytes(pairs[-1][0], "big") + 1
        return first or 1

    def check_gaps(self) -> None:
        """Compare what is missing with what is told of, in the caller's snapshot, after everything in it was read."""
        there = self.store.count(Table.EVENTS)
        last = self.next - 1
        seqs = list(self.told)
        values = self.store.get_many(Table.EVENTS, [seq_key(seq) for seq in seqs])
        told = sum(self.told[seq] for seq, value in zip(seqs, values, strict=True) if value is not None)
        missing = last - there
        if missing == told:
            return
        where = self._unspanned()
        if missing > told:
            text = f"{missing - told} records are missing that no prune or compaction tells of{where}"
        else:
            text = f"prunes and compactions tell of {told - missing} records more than are missing: their own records were changed"
        self.findings.add(Finding("EVENTS", text))

    def _unspanned(self) -> str:
        """Where gaps are that no pruned task can have left."""
        if self._compacted or len(self._gaps) >= _GAPS or len(self._spans) >= _GAPS:
            return ""
        spans = sorted(self._spans)
        found: list[str] = []
        at, reach = 0, 0
        for first, last in self._gaps:
            while at < len(spans) and spans[at][0] <= last:
                reach = max(reach, spans[at][1])
                at += 1
            if reach < first:
                found.append(f"{first}" if first == last else f"{first} to {last}")
        if not found:
            return ""
        return ", among them seq " + ", ".join(found[:10]) + (" and more" if len(found) > 10 else "")


def payload_of(event: Event | Ignored) -> tuple[int, bytes] | None:
    """(length, digest) of the arguments, the result, the step's value or the value that an event brings."""
    if type(event) is TaskSubmitted:
        return event.payload_len, event.payload_digest
    if type(event) in _VALUED and (event.result_len or event.codec):  # type: ignore[union-attr]
        return event.result_len, event.result_digest  # type: ignore[union-attr]
    if type(event) is TaskRescheduled and event.options and "payload_digest" in event.options:
        return event.options["payload_len"], event.options["payload_digest"]
    if type(event) is ValuePut and not event.deleted:
        return event.value_len, event.value_digest
    return None


def right_record(key: bytes, draft: bytes) -> bool:
    """Whether the crc of a record is right."""
    found: int = _HEADER.unpack_from(draft)[4]
    return found == crc32(draft[8:], crc32(key + draft[:4]))


def _behind_gap(pairs: Items) -> int:
    """The first record behind the last gap of a page that begins with one or has one."""
    expected, found = None, 0
    for key, _ in pairs:
        seq = int.from_bytes(key, "big")
        if seq != expected:
            found = seq
        expected = seq + 1
    return found


__all__ = ["NO_SEQ", "PAGE", "Reading", "payload_of", "right_record"]
