"""What happened to the application's own key-values.  The conventions are in kernel/events.py.

Problem.  A value lives until it is put anew, whatever becomes of the task that put it, and one key may be put a thousand times a second.
Choice: an event of no queue and no task's life for each changed key.  It names the event it takes the place of, so that whoever reads the
journal on the way knows that the older record is over: a compaction may take it (journal/log.py), and nobody needs a table of keys to find
that out.  The value itself is the payload of the event, as arguments and results are.

Rejected: one event for a whole transaction (its record could never go as long as one of its keys is current).
"""

from __future__ import annotations

from typing import NamedTuple

from journeyman.kernel.queue_events import Options


class ValuePut(NamedTuple):
    """A key of the application has another value from here on, or (`deleted`) none.

    `key` is that of `namespace`, "" for the owner's.  `value_len` and `value_digest` (BLAKE2b, 16 bytes): of its payload; 0 and b"" where
    there is none.  `former`: seq of the ValuePut that spoke for the key until now; 0: there was no value.  `by_task`: the task with whose
    success it came.  `options`: reason, of one that `repair` writes.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    namespace: str
    key: bytes
    deleted: bool
    value_len: int
    value_digest: bytes
    former: int
    by_task: bytes | None = None
    options: Options = None


__all__ = ["ValuePut"]
