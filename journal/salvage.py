"""What can still be read of a damaged journal, sorted into a store of its own: the first step of a repair.

Records and payloads are taken from the tables as far as their trees lead (pages.py).  Where a part of a tree is lost, leaves that nothing
leads to any more are looked through for what belongs into just that range of seqs.  Everything proves itself before it is taken: a record
by its crc, which its seq is part of; a payload by the digest in its record.  One flipped bit or byte that has exactly one place is put
right.

Strays may be as old as the file: pages that were freed keep what they held.  Records never change, so an old copy of one is as good as the
new; but it may be of a task that was pruned since.  Such a task is recognised by the TasksPruned that names it, or, as with every record
whose tree is lost, by the rows (judge.py).  Two strays that claim the same seq with different contents (a commit that never was) are both
left.

The sorted copy lies in a scratch directory beside the new journal, so that nothing here grows with the journal but a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from journeyman.journal.cbor import CodecError
from journeyman.journal.checkpoint import CHECKPOINT
from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.findings import mended
from journeyman.journal.joining import check_chain
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.log import seq_key
from journeyman.journal.log_mending import mended_log
from journeyman.journal.migrate import append_now
from journeyman.journal.pages import Loss, PageFile
from journeyman.journal.record import Ignored, decode_records
from journeyman.journal.row import decode_columns, decode_named
from journeyman.journal.scan import NO_SEQ, payload_of, right_record
from journeyman.journal.store import Batch, Items, Table
from journeyman.journal.vouched import CONTRADICTED, vouched
from journeyman.journal.wal import FILE, FRONT, WAL_FLAG, Logged, decode_log, stragglers
from journeyman.kernel.events import Event, JournalCompacted, TasksPruned, TaskSubmitted
from journeyman.kernel.taskstate import ROW

BATCH: Final = 5_000
_PAGE: Final = 500
_TELLING: Final = frozenset({TasksPruned, JournalCompacted})
_SEQS: Final = ROW.index("seqs")
Tell = Callable[[str, int, int], Any]


@dataclass
class Salvage:
    """What was found: records and payloads in `store`, the rest here."""

    store: LmdbStore
    records: int = 0
    payloads: int = 0
    damaged: dict[int, str] = field(default_factory=dict)  # seq -> what is wrong with its record; it is left
    spoilt: dict[int, str] = field(default_factory=dict)  # the same for payloads
    mended: dict[int, str] = field(default_factory=dict)  # seq -> what was put right
    vouched: dict[int, str] = field(default_factory=dict)  # seq -> what the chain says of its record that was put right
    told: dict[int, int] = field(default_factory=dict)  # seq of a TasksPruned or JournalCompacted -> records it accounts for
    strays: int = 0  # records found outside of any table
    meta: dict[bytes, dict[str, Any]] = field(default_factory=dict)  # META records that are sound
    lost_rows: int = 0
    pruned: set[bytes] = field(default_factory=set)  # tasks of which old copies were found
    losses: dict[str, list[Loss]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every record that was written is known to be here or accounted for."""
        return not self.damaged and not self.losses.get("events")

    def events(self, first: int = 1) -> Iterator[list[tuple[int, Event | Ignored]]]:
        """The records in order, page by page."""
        while pairs := self.store.scan(Table.EVENTS, seq_key(first), seq_key(NO_SEQ), limit=500):
            yield decode_records(pairs)
            first = int.from_bytes(pairs[-1][0], "big") + 1


def salvage(file: PageFile, store: LmdbStore, tell: Tell, log: bytes = b"") -> Salvage:
    """Fill `store` with what is sound in `file`, and in the log beside it."""
    found = Salvage(store, losses=file.losses)
    _read_meta(file, found)
    _read_records(file, found, tell)
    logged = _read_log(log, found)
    if file.losses.get("events"):
        _stray_records(file, found, tell)
        _forget_pruned(found)
    _ask_the_chain(found)
    _read_payloads(file, found, tell)
    _take_payloads(logged, found, mend=False)
    _copy_rows(file, found)
    return found


def _read_meta(file: PageFile, found: Salvage) -> None:
    for items in file.table(Table.META):
        for key, value in items:
            try:
                named = decode_named(key, value)
            except JournalCorrupt:
                continue
            if named is not None:
                found.meta[key] = named


# --- records ------------------------------------------------------------------------------------------------------------------


def _read_records(file: PageFile, found: Salvage, tell: Tell) -> None:
    pending: Items = []
    for items in file.table(Table.EVENTS):
        try:
            _account(found, decode_records(items))
            pending += items
        except JournalCorrupt:
            pending += [pair for pair in (_sound(pair, found) for pair in items) if pair is not None]
        if len(pending) >= BATCH:
            found.records += _put(found.store, Table.EVENTS, pending)
            tell("reading records", found.records, 0)
            pending = []
    found.records += _put(found.store, Table.EVENTS, pending)


def _read_log(log: bytes, found: Salvage) -> Items:
    """Records that are in the log alone, because they are the newest or because data.mdb has lost them; their payloads."""
    salt = found.meta.get(WAL_FLAG, {}).get("salt")
    if salt is not None and len(log) > FRONT:
        log = FILE + salt + log[FRONT:]
    log, turned = mended_log(log)
    newest = found.store.last(Table.EVENTS)
    ranges = [(loss.low, loss.high) for loss in found.losses.get("events", ())]
    known = decode_log(log)
    payloads: Items = []
    if found.whole and not _goes_on(known, found.store, newest):
        return payloads  # it is another journal's
    for logged in [*known, *stragglers(log, known)]:
        there = found.store.get_many(Table.EVENTS, [key for key, _ in logged.events])
        new = [
            pair for pair, before in zip(logged.events, there, strict=True)
            if before is None and (newest is None or pair[0] > newest[0] or _within(pair[0], ranges)) and _is_record(pair)
        ]  # fmt: skip
        _account(found, decode_records(new))
        found.records += _put(found.store, Table.EVENTS, new)
        kept = {key for key, _ in new}
        found.mended |= {seq: f"byte {offset} of the log" for seq, offset in turned if seq_key(seq) in kept}
        payloads += [pair for pair in logged.payloads if pair[0] in kept]
    return payloads


def _goes_on(known: list[Logged], store: LmdbStore, newest: tuple[bytes, bytes] | None) -> bool:
    """Whether the log chains to the newest record that was found, of all that were written."""
    through = 0 if newest is None else int.from_bytes(newest[0], "big")
    later = [each for each in known if each.last > through]
    try:
        check_chain(store, later, through)
    except JournalCorrupt:
        return False
    return not later or later[0].first == through + 1


def _sound(pair: tuple[bytes, bytes], found: Salvage) -> tuple[bytes, bytes] | None:
    """The record, put right if that is possible beyond doubt; None for one that is lost."""
    key, value = pair
    seq = int.from_bytes(key, "big")
    try:
        _account(found, decode_records([pair]))
        return pair
    except JournalCorrupt as failure:
        draft = mended(value, 0, lambda draft: right_record(key, draft)) if len(key) == 8 and len(value) > 8 else None
        if draft is not None:
            try:
                _account(found, decode_records([(key, draft[1])]))
            except JournalCorrupt:
                pass
            else:
                found.mended[seq] = f"byte {draft[0]} of its record"
                return key, draft[1]
        found.damaged[seq] = str(failure).partition(".  Keep")[0]
        return None


def _account(found: Salvage, events: list[tuple[int, Event | Ignored]]) -> None:
    """Remember which events tell of records that are gone."""
    for seq, event in events:
        if type(event) in _TELLING:
            found.told[seq] = accounts_for(event)


def accounts_for(event: Event | Ignored) -> int:
    """How many records are gone that it tells of."""
    if isinstance(event, TasksPruned):
        return sum([int(entry[2]) for entry in event.entries])
    if isinstance(event, JournalCompacted):
        return int(event.totals.get("records", 0)) + int(event.totals.get("task_records", 0))
    return 0


def _put(store: LmdbStore, table: Table, items: Items) -> int:
    if items:
        batch = Batch()
        batch.put(table, items)
        append_now(store, batch)
    return len(items)


def _stray_records(file: PageFile, found: Salvage, tell: Tell) -> None:
    """Records that belong where the tree is lost."""
    ranges = [(loss.low, loss.high) for loss in file.losses["events"]]
    doubtful: set[bytes] = set()
    for count, items in enumerate(file.strays()):
        tell("looking through what no table leads to", count, 0)
        wanted = [pair for pair in items if _within(pair[0], ranges) and _is_record(pair)]
        known = found.store.get_many(Table.EVENTS, [key for key, _ in wanted])
        new: Items = []
        for (key, value), before in zip(wanted, known, strict=True):
            if before is None:
                new.append((key, value))
                _account(found, decode_records([(key, value)]))
            elif before != value:
                doubtful.add(key)
        found.strays += _put(found.store, Table.EVENTS, new)
    if doubtful:
        batch = Batch()
        batch.delete(Table.EVENTS, sorted(doubtful))
        append_now(found.store, batch)
        for key in doubtful:
            found.damaged[int.from_bytes(key, "big")] = "two records claim this seq"
    for seq in [seq for seq in found.damaged if found.store.get(Table.EVENTS, seq_key(seq)) is not None]:
        del found.damaged[seq]
    found.records += found.strays - len(doubtful)


def _within(key: bytes, ranges: list[tuple[bytes, bytes | None]]) -> bool:
    return any(low <= key and (high is None or key < high) for low, high in ranges)


def _is_record(pair: tuple[bytes, bytes]) -> bool:
    key, value = pair
    if len(value) < 12 or value[0] != 1 or not right_record(key, value):
        return False
    try:
        decode_records([pair])
    except JournalCorrupt:
        return False
    return True


def _forget_pruned(found: Salvage) -> None:
    """Tasks that a prune names are gone; what is found of them is old."""
    for event in _read(found.store, sorted(found.told)):
        if type(event) is TasksPruned:
            old = _read(found.store, [entry[0] for entry in event.entries])
            found.pruned.update(submit.task for submit in old if type(submit) is TaskSubmitted)


def _read(store: LmdbStore, seqs: list[int]) -> Iterator[Event | Ignored]:
    """Those of these records that are there."""
    for first in range(0, len(seqs), _PAGE):
        keys = [seq_key(seq) for seq in seqs[first : first + _PAGE]]
        values = store.get_many(Table.EVENTS, keys)
        yield from (
            event for _, event in decode_records([(key, value) for key, value in zip(keys, values, strict=True) if value is not None])
        )


def _ask_the_chain(found: Salvage) -> None:
    """What the chain contradicts was not put right, and is lost."""
    checkpoint = found.meta.get(CHECKPOINT, {})
    found.vouched = vouched(found.store, found.mended, {checkpoint["seq"]: checkpoint["chain"]} if "chain" in checkpoint else {})
    refuted = [seq for seq, said in found.vouched.items() if said is CONTRADICTED]
    for seq in refuted:
        found.damaged[seq] = f"{found.mended.pop(seq)} could be put right, but {CONTRADICTED}"
    if refuted:
        batch = Batch()
        batch.delete(Table.EVENTS, [seq_key(seq) for seq in refuted])
        append_now(found.store, batch)
        found.records -= len(refuted)


# --- payloads and rows --------------------------------------------------------------------------------------------------------


def _read_payloads(file: PageFile, found: Salvage, tell: Tell) -> None:
    for items in file.table(Table.PAYLOADS):
        _take_payloads(items, found, mend=True)
        tell("reading payloads", found.payloads, 0)
    if not file.whole(Table.PAYLOADS):
        ranges = [(loss.low, loss.high) for loss in file.losses["payloads"]]
        for items in file.strays():
            _take_payloads([pair for pair in items if _within(pair[0], ranges)], found, mend=False)


def _take_payloads(items: Items, found: Salvage, *, mend: bool) -> None:
    records = found.store.get_many(Table.EVENTS, [key for key, _ in items])
    pairs = [(key, value) for (key, _), value in zip(items, records, strict=True) if value is not None]
    named = {seq: payload_of(event) for seq, event in decode_records(pairs)}
    sound: Items = []
    for key, data in items:
        seq = int.from_bytes(key, "big")
        wanted = named.get(seq)
        if wanted is None:
            continue
        if digest(data) == wanted[1]:
            sound.append((key, data))
            found.spoilt.pop(seq, None)
        elif mend:
            draft = mended(data, 0, _with_digest(wanted[1])) if len(data) == wanted[0] else None
            if draft is None:
                found.spoilt[seq] = "its payload does not match its digest"
            else:
                sound.append((key, draft[1]))
                before = f"{found.mended[seq]}; " if seq in found.mended else ""
                found.mended[seq] = f"{before}byte {draft[0]} of its payload"
    found.payloads += _put(found.store, Table.PAYLOADS, sound)


def _with_digest(wanted: bytes) -> Callable[[bytes], bool]:
    return lambda draft: digest(draft) == wanted


def _copy_rows(file: PageFile, found: Salvage) -> None:
    """Sound rows, which say which events a task had."""
    for table in (Table.LIVE, Table.TASKS):
        sound: Items = []
        for items in file.table(table):
            sound += _sound_rows(table, items, found)
            if len(sound) >= BATCH:
                _put(found.store, table, sound)
                sound = []
        _put(found.store, table, sound)


def _sound_rows(table: Table, items: Items, found: Salvage) -> Items:
    try:
        rows = decode_columns(table, items)
    except (JournalCorrupt, CodecError):
        if len(items) == 1:
            found.lost_rows += 1
            return []
        return [pair for item in items for pair in _sound_rows(table, [item], found)]
    return [pair for pair, (row, _) in zip(items, rows, strict=True) if len(row) > _SEQS]


__all__ = ["Salvage", "accounts_for", "salvage"]
