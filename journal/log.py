"""The log: numbers events, seals them into commits, reads them back.

One `Journal` object per open journal, used on the loop thread only.  Numbers are taken when a decision is applied (`take`), bytes are made
when the commit is put together (`seal`), so a commit holds whatever gathered while the last one was under way.  The journal also keeps, in
passing, two lists that others need and that cost next to nothing here:

- `dirty`: ids of tasks touched since the newest checkpoint began -> queue name (checkpoint.py swaps it out);
- `loose`: seqs of the records that a JournalCompacted may one day replace (compact.py);
- `steps`: seqs of the clock's steps, which concern tasks without being theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.record import GENESIS, Chain, Ignored, decode_records, encode_commit
from journeyman.journal.store import Batch, Store, Table
from journeyman.kernel.events import (
    ClockStepped,
    EngineBooted,
    EngineClosed,
    Event,
    JournalCompacted,
    QueueConfigured,
    QueueOpened,
    QueueParkedUntil,
    QueuePaused,
    QueueResumed,
    ScheduleDeclared,
    ScheduleFired,
    ScheduleRemoved,
    TasksPruned,
    ValuePut,
)
from journeyman.kernel.tags import TASK_KINDS

READ_CHUNK: Final = 1_000  # records a read transaction; keeps it under a millisecond or two
LOOSE_KINDS: Final = frozenset({
    EngineBooted, EngineClosed, JournalCompacted, QueueConfigured, QueueOpened, QueueParkedUntil, QueuePaused, QueueResumed,
    TasksPruned, ScheduleDeclared, ScheduleRemoved, ScheduleFired,
})  # fmt: skip


def seq_key(seq: int) -> bytes:
    """A seq as a key: 8 bytes, so that byte order is number order."""
    return seq.to_bytes(8, "big")


class Journal:
    """The events of one store.  `next_seq` and `chain` come from recovery (recover.py)."""

    def __init__(self, store: Store, next_seq: int = 1, chain: bytes = GENESIS) -> None:
        self.store = store
        self.next_seq = next_seq
        self.sealed = next_seq - 1  # highest seq handed to a batch
        self.chain = chain
        self.dirty: dict[bytes, str] = {}
        self.loose: list[int] = []
        self.steps: list[int] = []
        self.stepped = False  # a clock step moved every waiting task since the newest checkpoint began

    def take(self, n: int) -> int:
        """Reserve `n` numbers; the first of them."""
        first = self.next_seq
        self.next_seq = first + n
        return first

    def seal(
        self,
        items: Sequence[tuple[int, Event]],
        payloads: Sequence[tuple[int, bytes]] = (),
        drop_payloads: Sequence[int] = (),
        extra: Batch | None = None,
    ) -> Batch:
        """One commit's bytes.  `items` in ascending seq, without gaps, following what was sealed before; batches must reach the store in
        the order sealed.

        `payloads` and `drop_payloads` go by the seq of the owning event.  `extra` (a checkpoint chunk, a prune) joins the commit and is
        left empty-handed.
        """
        batch = Batch()
        if items:
            if items[0][0] != self.sealed + 1 or items[-1][0] != self.sealed + len(items):
                raise ValueError(f"events must be sealed in order: expected {self.sealed + 1}, got {items[0][0]}..{items[-1][0]}")
            records, self.chain = encode_commit(items, self.chain)
            self.sealed = items[-1][0]
            self.note(items)
            batch.put(Table.EVENTS, records, append=True)
        if payloads:
            if drop_payloads:
                dropped = set(drop_payloads)
                payloads = [pair for pair in payloads if pair[0] not in dropped]
            batch.put(Table.PAYLOADS, [(seq.to_bytes(8, "big"), data) for seq, data in payloads], append=True)
        if drop_payloads:
            batch.delete(Table.PAYLOADS, [seq_key(seq) for seq in drop_payloads])
        if extra is not None:
            batch.absorb(extra)
        return batch

    def note(self, items: Sequence[tuple[int, Event | Ignored]]) -> None:
        """Keep `dirty`, `loose` and `steps` up with these events."""
        dirty, tasks = self.dirty, TASK_KINDS
        for seq, event in items:
            if type(event) in tasks:
                dirty[event[4]] = event[1]  # type: ignore[index]
            elif type(event) in LOOSE_KINDS:
                self.loose.append(seq)
            elif type(event) is ClockStepped:
                self.steps.append(seq)
                self.stepped = True
            elif type(event) is ValuePut:
                if event.former:
                    self.loose.append(event.former)
                if event.deleted:  # nothing is left that it speaks for
                    self.loose.append(seq)

    # --- reading: only what is durable ---

    def read(self, first: int, last: int, limit: int = READ_CHUNK) -> list[tuple[int, Event | Ignored]]:
        """Events with first <= seq <= last, at most `limit`.  Pruned ones are simply not there."""
        return decode_records(self.store.scan(Table.EVENTS, seq_key(first), seq_key(last + 1), limit=limit))

    def events(self, seqs: Sequence[int]) -> list[tuple[int, Event | Ignored]]:
        """The events of exactly these numbers, in ascending order.  JournalCorrupt when one is not there."""
        keys = [seq_key(seq) for seq in sorted(seqs)]
        pairs: list[tuple[bytes, bytes]] = []
        for key, value in zip(keys, self.store.get_many(Table.EVENTS, keys), strict=True):
            if value is None:
                seq = int.from_bytes(key, "big")
                raise JournalCorrupt(f"record {seq} is missing, and nothing says that it was pruned", seq)
            pairs.append((key, value))
        return decode_records(pairs)

    def event(self, seq: int) -> Event | Ignored | None:
        """The event of this number, None when it was pruned or never written."""
        key = seq_key(seq)
        value = self.store.get(Table.EVENTS, key)
        return None if value is None else decode_records([(key, value)])[0][1]

    def payload(self, seq: int, digest: bytes | None = None) -> bytes | None:
        """The payload or result owned by event `seq`, None when it was dropped.  With its `digest`: JournalCorrupt when it is not what was
        stored."""
        return self.payloads([seq], None if digest is None else [digest])[0]

    def payloads(self, seqs: Sequence[int], digests: Sequence[bytes] | None = None) -> list[bytes | None]:
        """The same for many, in their order."""
        found = self.store.get_many(Table.PAYLOADS, [seq_key(seq) for seq in seqs])
        if digests is not None:
            for seq, data, expected in zip(seqs, found, digests, strict=True):
                if data is not None and digest(data) != expected:
                    raise JournalCorrupt(f"the payload of record {seq} is damaged: it does not match its digest.  Restore a backup", seq)
        return found

    def walk(self, first: int, last: int, chain: Chain | None = None) -> Iterator[list[tuple[int, Event | Ignored]]]:
        """All events with first <= seq <= last in chunks; nothing stays open between two chunks."""
        stop = seq_key(last + 1)
        while pairs := self.store.scan(Table.EVENTS, seq_key(first), stop, limit=READ_CHUNK):
            yield decode_records(pairs, chain)
            first = int.from_bytes(pairs[-1][0], "big") + 1
