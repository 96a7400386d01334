"""Reads of ended tasks that memory has let go: by id, newest first, counts, what has expired.

A projection: TASKS, BY_STATE and BY_EXPIRY can be rebuilt from the events alone.  It never speaks for a task that memory holds (tally.py
says why), so a reader asks memory and catalog and never meets a task twice.  A task past its expiry is invisible exactly on time, whether
or not prune has come by.

An entry of an index has no checksum; the row that it names has one, and says where its entry belongs.  So a list compares the two: an entry
that was misread would leave a task out without a word.  Counts read entries alone (an engine that was down for long may find a million that
expired meanwhile) and refuse only what no engine wrote.

Who reads beside an engine does it within one snapshot of the store; rows and index are of one commit there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.row import STATE_CODE, STATE_OF_CODE, decode_rows, expiry_key, state_key
from journeyman.journal.store import Items, Store, Table
from journeyman.journal.tally import Tally
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import TaskState

_PAGE: Final = 256
_NO_SEQ: Final = (1 << 64) - 1
_ADVICE: Final = "run `journeyman verify`; when it finds nothing, the entry was misread, so test the machine's memory and disk"


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
        """Settled tasks of a queue in a terminal state, by falling seq, with seq below `before`; at most `limit`.  JournalCorrupt."""
        found: list[TaskState] = []
        if queue not in self._tally.ordinals:
            return found
        start, stop = self._key(queue, state, 0), self._key(queue, state, _NO_SEQ if before is None else before)
        while len(found) < limit and (pairs := self._store.scan(Table.BY_STATE, start, stop, reverse=True, limit=_PAGE)):
            found += self._named(pairs, now)
            stop = pairs[-1][0]
        return found[:limit]

    def oldest(self, queue: str, state: State, now: int, *, after: int = 0, limit: int) -> list[TaskState]:
        """The same by rising seq, with seq above `after`."""
        found: list[TaskState] = []
        if queue not in self._tally.ordinals:
            return found
        start, stop = self._key(queue, state, after + 1), self._key(queue, state, _NO_SEQ)
        while len(found) < limit and (pairs := self._store.scan(Table.BY_STATE, start, stop, limit=min(_PAGE, limit))):
            found += self._named(pairs, now)
            start = pairs[-1][0] + b"\0"
        return found[:limit]

    def _key(self, queue: str, state: State, seq: int) -> bytes:
        return state_key(self._tally.ordinals[queue], STATE_CODE[state], seq)

    def _named(self, pairs: Items, now: int) -> list[TaskState]:
        """The tasks that these entries of BY_STATE name, in their order; not the silent and not the expired ones."""
        pairs = [(key, id) for key, id in pairs if not self._silent(id)]
        tasks = {task.id: task for task in self.rows([id for _, id in pairs])}
        for key, id in pairs:
            if id not in tasks or self._tally.place(tasks[id]).state_key != key:
                raise JournalCorrupt(f"index BY_STATE names a task that has no such row, {id.hex()}: {_ADVICE}")
        return [task for _, id in pairs if not _expired(task := tasks[id], now)]

    def counts(self, now: int) -> dict[str, dict[State, int]]:
        """Settled tasks by queue and terminal state that have not expired at `now`.  JournalCorrupt."""
        counts = {queue: {state: self._tally.count(queue, state) for state in STATE_CODE} for queue in self._tally.ordinals}
        for entries in self._due(now):
            for id, ordinal, code in entries:
                if ordinal not in self._tally.names or code not in STATE_OF_CODE:
                    raise JournalCorrupt(f"index BY_EXPIRY holds what no Journeyman writes, of task {id.hex()}: {_ADVICE}")
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
