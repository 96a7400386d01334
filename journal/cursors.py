"""A stretch of keys, upwards or downwards, from an LMDB cursor.  Copies: nothing of the transaction is kept."""

from __future__ import annotations

from itertools import islice
from typing import Any, cast

from journeyman.journal.store import Items


def scan_up(cursor: Any, start: bytes, stop: bytes | None, limit: int) -> Items:
    """At most `limit` pairs with start <= key < stop, ascending."""
    if not (cursor.set_range(start) if start else cursor.first()):
        return []
    pairs = cast("Items", list(islice(cursor.iternext(), limit)))
    if stop is not None:
        while pairs and pairs[-1][0] >= stop:
            pairs.pop()
    return pairs


def scan_down(cursor: Any, start: bytes, stop: bytes | None, limit: int) -> Items:
    """The same stretch, descending: the highest first."""
    if stop is None:
        found = cursor.last()
    else:
        found = cursor.prev() if cursor.set_range(stop) else cursor.last()
    if not found:
        return []
    pairs = cast("Items", list(islice(cursor.iterprev(), limit)))
    while pairs and pairs[-1][0] < start:
        pairs.pop()
    return pairs


__all__ = ["scan_down", "scan_up"]
