"""What the arguments of a handler are called: written by engines for the journal's tools, and for nobody else.

Problem.  A call is stored in one canonical shape, by position where that is possible (engine/signature.py), so the journal does not know
that the second argument of `send` is a password, and a tool that hides fields by their names would show it.  Choice: whenever a queue is
opened with handlers, the names of their positional parameters go into META, in the same commit.  They describe; nothing is decided by
them, no event and no digest holds them, and where they are missing (an older journal, an imported one) tools hide what has no name.

Rejected: names in every payload (a tenth more bytes, and two digests for one call); names in QueueOpened (a compaction folds it away).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from journeyman.journal.row import decode_named, encode_named
from journeyman.journal.store import Batch, Store, Table

PARAMETERS: Final = b"parameters/"
_STOP: Final = b"parameters0"  # "0" follows "/"
_PAGE: Final = 500

Parameters = Mapping[str, Sequence[Sequence[str]]]


def parameters_batch(queue: str, handlers: Mapping[str, Sequence[str]]) -> Batch:
    """The names of a queue's handlers' positional parameters, in order, in the place of what was known before."""
    batch = Batch()
    batch.put(Table.META, [encode_named(PARAMETERS + queue.encode(), {name: list(names) for name, names in sorted(handlers.items())})])
    return batch


def read_parameters(store: Store) -> Parameters:
    """By handler: the names of its positional parameters, once for each queue that has a handler of this name."""
    found: dict[str, list[Sequence[str]]] = {}
    start = PARAMETERS
    while pairs := store.scan(Table.META, start, _STOP, limit=_PAGE):
        for key, value in pairs:
            for handler, names in (decode_named(key, value) or {}).items():
                found.setdefault(handler, []).append(names)
        start = pairs[-1][0] + b"\0"
    return found


__all__ = ["PARAMETERS", "Parameters", "parameters_batch", "read_parameters"]
