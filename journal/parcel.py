"""An export: a journal in one file, complete and exact, or a part of it for other eyes.

Problem.  A journal must be able to leave its files (for another machine, another program, an archive) and to come back as the same
journal: the same events under the same seqs, the same arguments and results, the same commits and the same chain.  And a file meant to be
looked at must not tell secrets.  Choice: what travels is what *is* the journal (docs/FORMAT.md): the records of EVENTS and the payloads
that belong to them, as the bytes they are on disk.  Rows, indexes and checkpoints are projections and are made anew by import, with the
code that makes them in a running engine.  Two kinds of files come of it:

- a *complete* one holds every record and payload in raw form, whatever else it shows beside them; it is read in one snapshot, for an export
  that missed the end of a task which was pruned meanwhile would bring that task back to life;
- any other (fields hidden, a range, one queue) holds no raw bytes, says so in its header, and is not importable.

All formats have a header, items, and an end with the number of items and the hash of all before it, so a file cut short or changed is
found out before it is a journal.  Nothing in a file tells when or by whom it was written: the same journal gives the same bytes.

Rejected: exporting the tables as they are (an import would have to trust rows that nothing proves); fields without the raw record
(an older or younger version's record would not come back as it was); redacted records that can be imported (their chain is broken, and a
task would run with the word "[hidden]" for a password).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from journeyman.journal.errors import JournalCorrupt, JournalError, JournalVersion, NotImportable
from journeyman.journal.identity import JOURNAL_FORMAT, Identity
from journeyman.journal.log import seq_key
from journeyman.journal.store import Items, Store, Table

PARCEL: Final = 1  # the version of this layout
_RECORDS: Final = 1_000  # of a page, at most
_BYTES: Final = 4 << 20  # of a page, about
_PAYLOADS: Final = 64  # read at a time: they may be large


class Item(NamedTuple):
    """One record as it is on disk, and the arguments or result that belong to it."""

    seq: int
    value: bytes
    payload: bytes | None


class Header(NamedTuple):
    """What a file holds."""

    identity: Identity
    first_seq: int
    last_seq: int
    complete: bool
    redacted: bool
    selected: dict[str, Any] | None = None  # since, until, queue: what a partial one was narrowed to

    def facts(self) -> dict[str, Any]:
        """As it is written; bytes in hex, so that every format can say it."""
        identity = self.identity
        return {
            "journeyman_export": PARCEL,
            "complete": self.complete,
            "redacted": self.redacted,
            "selected": self.selected,
            "journal": identity.journal.hex(),
            "lineage": identity.lineage.hex(),
            "created_at": identity.created_at,
            "format": identity.format,
            "compat": identity.compat,
            "ro": identity.ro,
            "incompat": identity.incompat,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
        }

    @classmethod
    def of(cls, facts: Any) -> Header:
        """The header in a file that is to be imported.  NotImportable, JournalVersion, JournalCorrupt."""
        if not isinstance(facts, dict) or not isinstance(facts.get("journeyman_export"), int):
            raise NotImportable("this is no export of a journal: make one with `journeyman export PATH FILE --reveal`")
        if facts["journeyman_export"] > PARCEL:
            raise JournalVersion(f"this export has layout {facts['journeyman_export']}; this Journeyman reads up to {PARCEL}: upgrade it")
        if facts.get("redacted"):
            raise NotImportable(
                "fields are hidden in this export, so it cannot become a journal: export again with --reveal, and guard that file"
            )
        if not facts.get("complete"):
            raise NotImportable(
                "this export holds a part of a journal (--since, --until, --queue) and cannot become one: export again without them"
            )
        try:
            identity = Identity(
                bytes.fromhex(facts["journal"]), bytes.fromhex(facts["lineage"]), facts["format"], list(facts["compat"]), list(facts["ro"]),
                list(facts["incompat"]), facts["created_at"], [],
            )  # fmt: skip
            found = cls(identity, facts["first_seq"], facts["last_seq"], True, False)
        except (KeyError, TypeError, ValueError) as failure:
            raise JournalCorrupt(f"the header of this export cannot be read ({failure!r}): export the journal again") from failure
        if identity.format != JOURNAL_FORMAT:
            raise JournalVersion(
                f"this export holds format {identity.format}, this Journeyman knows {JOURNAL_FORMAT}: use the version that wrote it"
            )
        return found


def cut_short(what: str = "it ends before its end") -> JournalError:
    """A file that is not as it was written."""
    return JournalCorrupt(f"this export is damaged or incomplete ({what}), and nothing was made of it: copy or export it again")


def pages(store: Store, first: int, last: int, *, exact: bool) -> Iterator[list[Item]]:
    """The records with first <= seq <= last and what belongs to them, in pages of bounded size.

    `exact`: within a snapshot; JournalCorrupt for a payload that belongs to no record.
    """
    payloads = _Payloads(store, first, last)
    stop = seq_key(last + 1)
    new, number = tuple.__new__, int.from_bytes
    while pairs := store.scan(Table.EVENTS, seq_key(first), stop, limit=_RECORDS):
        page: list[Item] = []
        weight = 0
        for key, value in pairs:
            payload = None
            if key >= payloads.next:
                payload = payloads.of(key)
                weight += len(payload or b"")
            weight += len(value)
            page.append(new(Item, (number(key, "big"), value, payload)))
            if weight >= _BYTES:
                yield page
                page, weight = [], 0
        if page:
            yield page
        first = number(pairs[-1][0], "big") + 1
    if exact:
        payloads.none_left()


class _Payloads:
    """Table PAYLOADS read along with EVENTS: both ascend."""

    def __init__(self, store: Store, first: int, last: int) -> None:
        self.next = b""  # the next payload belongs to no key below this one
        self._store = store
        self._from, self._stop = seq_key(first), seq_key(last + 1)
        self._ahead: deque[tuple[bytes, bytes]] = deque()
        self._strange: bytes | None = None  # a payload whose record is not there

    def of(self, key: bytes) -> bytes | None:
        """What belongs to the record of this key; keys ascend from call to call."""
        while self._ahead or self._read():
            self.next, payload = self._ahead[0]
            if self.next > key:
                return None
            self._ahead.popleft()
            if self.next == key:
                return payload
            self._strange = self._strange or self.next
        self.next = self._stop
        return None

    def none_left(self) -> None:
        """JournalCorrupt if there is a payload that no record asked for."""
        strange = self._strange or (self._ahead[0][0] if self._ahead or self._read() else None)
        if strange is not None:
            seq = int.from_bytes(strange, "big")
            raise JournalCorrupt(f"there are arguments or a result of record {seq}, but no such record: run `journeyman verify`", seq)

    def _read(self) -> bool:
        pairs: Items = self._store.scan(Table.PAYLOADS, self._from, self._stop, limit=_PAYLOADS)
        self._ahead.extend(pairs)
        if pairs:
            self._from = pairs[-1][0] + b"\0"
        return bool(pairs)


def last_seq(store: Store) -> int:
    """The newest event; 0 if there is none."""
    pair = store.last(Table.EVENTS)
    return 0 if pair is None else int.from_bytes(pair[0], "big")


__all__ = ["Header", "Item", "cut_short", "last_seq", "pages"]
