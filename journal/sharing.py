"""Several views of one journal in one process.

Problem.  LMDB allows one environment a file and process: a second one would drop the locks of the first.  A web page that opens the journal
for each request, or a test that holds two views, is no mistake of its author's.  Choice: readers of the same data file share one
store, which closes with the last of them; a store lets one thread read at a time, so sharing is safe.  An engine's own store is not
lent: a view's snapshot would make the engine wait.

Rejected: an environment a view (LMDB forbids it); views that live as long as the process (the file could never be replaced).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from journeyman.journal.lmdb_store import LmdbStore

_Place = tuple[int, int]  # device and inode of data.mdb
_gate = threading.Lock()
_open: dict[_Place, tuple[LmdbStore, int]] = {}  # with how many have it


def borrow(directory: str, opener: Callable[[], LmdbStore]) -> LmdbStore:
    """The store for reading of this directory's journal: one that is open in this process, or what `opener` opens."""
    with _gate:
        place = _place(directory)
        if place is not None and place in _open:
            store, readers = _open[place]
            _open[place] = (store, readers + 1)
            return store
        store = opener()
        place = _place(directory)
        if place is not None:
            _open[place] = (store, 1)
        return store


def give_back(store: LmdbStore) -> None:
    """One reader less; the last one closes it."""
    with _gate:
        for place, (held, readers) in _open.items():
            if held is store:
                if readers > 1:
                    _open[place] = (store, readers - 1)
                    return
                del _open[place]
                break
        store.close()


def _place(directory: str) -> _Place | None:
    try:
        found = os.stat(os.path.join(directory, "data.mdb"))
    except OSError:
        return None
    return found.st_dev, found.st_ino


os.register_at_fork(after_in_child=_open.clear)  # what the parent has open is the parent's

__all__ = ["borrow", "give_back"]
