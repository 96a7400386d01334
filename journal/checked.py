"""The check without which no copy of a journal is called one: by a child process first, whom damage may kill, then payload by payload.

The child (probe.py) reads every page, checks the crc of every record and row, the chain, the sum of the rows and the indexes.  What it does
not look at are arguments and results, which have no crc of their own: their digests are in the events that they belong to.
"""

from __future__ import annotations

from collections.abc import Callable

from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.log import seq_key
from journeyman.journal.parcel import last_seq, pages
from journeyman.journal.probe import examine
from journeyman.journal.record import decode_records
from journeyman.kernel.events import TaskRescheduled, TaskSubmitted, TaskSucceeded


def check_copy(directory: str, tell: Callable[[int], object]) -> int:
    """Look at all of the journal in a directory that nobody else knows of yet; its newest seq.  `tell` hears up to which seq it has come.

    JournalCorrupt, JournalVersion.
    """
    tell(0)
    examine(directory, thorough=True)
    store = LmdbStore(directory, readonly=True, locking=False)
    try:
        last = last_seq(store)
        for page in pages(store, 0, last, exact=True):
            events = decode_records([(seq_key(item.seq), item.value) for item in page])
            for (seq, event), item in zip(events, page, strict=True):
                if item.payload is not None:
                    check_payload(seq, event, item.payload)
            tell(page[-1].seq)
    finally:
        store.close()
    return last


def check_payload(seq: int, event: object, payload: bytes) -> None:
    """JournalCorrupt unless these are the arguments or the result that the event speaks of."""
    expected = None
    if isinstance(event, TaskSubmitted):
        expected = event.payload_digest
    elif isinstance(event, TaskSucceeded):
        expected = event.result_digest
    elif isinstance(event, TaskRescheduled):
        expected = (event.options or {}).get("payload_digest")
    if expected is None or digest(payload) != expected:
        raise JournalCorrupt(f"the arguments or the result of record {seq} are not what was stored", seq)


__all__ = ["check_copy", "check_payload"]
