"""What a repair does about the application's key-values whose value is lost.

Problem.  A key without its value must not be shown with an older one (there is none: it was deleted with its commit), nor fail every reader
for ever.  Choice: the rows are made of the events that went over; a row whose value did not is taken out, and an event of the repair's own
says that the key was deleted, by whom and why, so the journal adds up and the program finds the key absent, as it finds one that was never
put.  The report names such keys.

Where the record of a later put is lost, its key still has the row of an earlier one, whose value is gone: the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from journeyman.journal.log import seq_key
from journeyman.journal.store import Store, Table
from journeyman.journal.values import decode_row, name_of
from journeyman.kernel.events import ValuePut
from journeyman.kernel.values import Name

_PAGE: Final = 500


def without_value(store: Store) -> Iterator[tuple[Name, int]]:
    """Keys whose row names an event that has no payload, and that event's seq."""
    start = b""
    while pairs := store.scan(Table.KEYVALUES, start, limit=_PAGE):
        start = pairs[-1][0] + b"\0"
        seqs = [decode_row(key, data).seq for key, data in pairs]
        values = store.get_many(Table.PAYLOADS, [seq_key(seq) for seq in seqs])
        for (key, _), seq, value in zip(pairs, seqs, values, strict=True):
            if value is None:
                yield name_of(key), seq


def taken_out(at: int, boot: int, name: Name, former: int, by: str) -> ValuePut:
    """The event that says so."""
    options = {"by": by, "reason": "its value could not be read any more"}
    return ValuePut(at, "", 0, boot, *name, True, 0, b"", former, None, options)


__all__ = ["taken_out", "without_value"]
