"""Reads of ended tasks that memory has let go: by id, newest first, counts, what has expired.

A projection: TASKS, BY_STATE and BY_EXPIRY can be rebuilt from the events alone.  It never speaks for a task that memory holds (tally.py
says why), so a reader asks memory and catalog and never meets a task twice.  A task past its expiry is invisible exactly on time, whether
or not prune has come by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from journeyman.journal.row import STATE_CODE, STATE_OF_CODE, decode_rows, expiry_key, state_key
from journeyman.journal.store import Store, Table
from journeyman.journal.tally import Tally
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import TaskState

_PAGE: Final = 256
_NO_SEQ: Final = (1 << 64) - 1


class Catalog:
    """Settled tasks.  `now` is microseconds UTC, kernel time."""

    def __init__(self, store: Store, tally: Tally) -> None:
        self._store = store
        self._tally = self.tally = tally

    def _silent(self, id: bytes) -> bool:
        return id in self._tally.shadowed or id in self._tally.leaving

    def get(self, id: bytes, now: int) -> TaskState | None:
        """The settled task of this id; None when there is none, memory holds it, or it has expired."""
        if self._silent(id):
            return None
        value = self._store.get(Table.TASKS, id)
        if value is None:
            return None
        task = decode_rows(Table.TASKS, [(id, value)])[0][0]
        return None if _expired(task, now) else task

    def get_many(self, ids: list[bytes], now: int) -> dict[bytes, TaskState]:
        """Those of `ids` that are settled and have not expired."""
        wanted = [id for id in dict.fromkeys(ids) if not self._silent(id)]
        pairs = [(id, value) for id, value in zip(wanted, self._store.get_many(Table.TASKS, wanted), strict=True) if value is not None]
        return {task.id: task for task, _ in decode_rows(Table.TASKS, pairs) if not _expired(task, now)}

    def newest(self, queue: str, state: State, now: int, *, before: int | None = None, limit: int) -> list[TaskState]:
        """Settled tasks of a queue in a terminal state, by falling seq, with seq below `before`; at most `limit`."""
        found: list[TaskState] = []
        for page in self.pages(queue, state, before):
            tasks = self.get_many(page, now)
            found += [tasks[id] for id in page if id in tasks]
            if len(found) >= limit:
                break
        return found[:limit]

    def oldest(self, queue: str, state: State, now: int, *, after: int = 0, limit: int) -> list[TaskState]:
        """The same by rising seq, with seq above `after`."""
        ordinal = self._tally.ordinals.get(queue)
        if ordinal is None:
            return []
        code = STATE_CODE[state]
        start, stop = state_key(ordinal, code, after + 1), state_key(ordinal, code, _NO_SEQ)
        found: list[TaskState] = []
        while len(found) < limit and (pairs := self._store.scan(Table.BY_STATE, start, stop, limit=min(_PAGE, limit))):
            tasks = self.get_many([id for _, id in pairs], now)
            found += [tasks[id] for _, id in pairs if id in tasks]
            start = pairs[-1][0] + b"\0"
        return found[:limit]

    def pages(self, queue: str, state: State, before: int | None = None) -> Iterator[list[bytes]]:
        """Ids for `newest`, page by page.  Each page is a read of its own, so nothing stays open while the caller works."""
        ordinal = self._tally.ordinals.get(queue)
        if ordinal is None:
            return
        code = STATE_CODE[state]
        start, stop = state_key(ordinal, code, 0), state_key(ordinal, code, _NO_SEQ if before is None else before)
        while pairs := self._store.scan(Table.BY_STATE, start, stop, reverse=True, limit=_PAGE):
            yield [id for _, id in pairs]
            stop = pairs[-1][0]

    def counts(self, now: int) -> dict[str, dict[State, int]]:
        """Settled tasks by queue and terminal state that have not expired at `now`."""
        counts = {queue: {state: self._tally.count(queue, state) for state in STATE_CODE} for queue in self._tally.ordinals}
        for entries in self._due(now):
            for id, ordinal, code in entries:
                if id not in self._tally.shadowed:  # a leaving one is out of the tally already, and skipped in _due
                    counts[self._tally.names[ordinal]][STATE_OF_CODE[code]] -= 1
        return counts

    def expired(self, now: int, limit: int) -> list[TaskState]:
        """Settled tasks whose retention has ended at `now`, earliest first, at most `limit`: what prune takes next."""
        found: list[TaskState] = []
        for entries in self._due(now):
            ids = [id for id, _, _ in entries if not self._silent(id)][: limit - len(found)]
            found += self.rows(ids)
            if len(found) >= limit:
                break
        return found

    def rows(self, ids: list[bytes]) -> list[TaskState]:
        """The rows of these ids as stored, expired or not."""
        pairs = [(id, value) for id, value in zip(ids, self._store.get_many(Table.TASKS, ids), strict=True) if value is not None]
        return [task for task, _ in decode_rows(Table.TASKS, pairs)]

    def next_expiry(self) -> int | None:
        """The instant at which the next settled task expires, None when none will."""
        pairs = self._store.scan(Table.BY_EXPIRY, limit=1)
        return int.from_bytes(pairs[0][0][:8], "big") if pairs else None

    def _due(self, now: int) -> Iterator[list[tuple[bytes, int, int]]]:
        """(id, queue ordinal, state code) of what has expired, leaving ones left out, page by page."""
        start, stop = b"", expiry_key(now + 1, 0)
        while pairs := self._store.scan(Table.BY_EXPIRY, start, stop, limit=_PAGE):
            entries = [(value[:16], int.from_bytes(value[16:20], "big"), value[20]) for _, value in pairs]
            yield [entry for entry in entries if entry[0] not in self._tally.leaving]
            start = pairs[-1][0] + b"\0"


def _expired(task: TaskState, now: int) -> bool:
    return task.expires_at is not None and task.expires_at <= now
