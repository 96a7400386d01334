"""A journal as tools see it: for reading only, beside a running engine or without one.

Problem.  An operator asks while the engine works, and the journal may be many times larger than memory.  Choice: events are read by the
page, each page in a read transaction of its own, so nothing is pinned while the caller thinks or prints; records never change, so pages
read at different moments still fit together, and what prune takes between two of them was going to be gone anyway.  Rows, counts and
indexes do change, so what is made of several of them (the state, a listing, a proof) is read in one snapshot, which ends before the answer
is given.

A moment is a seq, or an instant: an aware datetime.  An instant means the last event at or before it.  Instants are kernel time, which
never goes back but for a journalled step of the clock; beside such a step an instant may name the wrong side of it, a seq never does.

Rejected: a copy of the database to read from (a minute and a disk for a glance); asking the running engine (an operator asks most when it
does not answer).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from journeyman.journal.feed import first_at
from journeyman.journal.history import HistoryEvent, history_of
from journeyman.journal.instants import NO_SEQ, instant_us, seq_of
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import owner_of
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.noted import Head
from journeyman.journal.opening import open_store
from journeyman.journal.parameters import Parameters, read_parameters
from journeyman.journal.prover import nothing, verify
from journeyman.journal.record import TAG_OF, Ignored, decode_records, tag_of
from journeyman.journal.recovery import Recovered, recover
from journeyman.journal.sharing import borrow, give_back
from journeyman.journal.store import Gauge, Table
from journeyman.journal.verify import Verdict
from journeyman.kernel.events import Event
from journeyman.kernel.ids import id_bytes
from journeyman.kernel.taskstate import TaskState

if TYPE_CHECKING:
    from journeyman.journal.changes import Change
    from journeyman.journal.past import Past, Tell
    from journeyman.journal.summary import Summary

Moment = int | datetime
_PAGE: Final = 5_000  # records; some ten milliseconds
_ID_BYTES: Final = 16


def open_journal(path: str | os.PathLike[str], *, allow_unsafe_fs: bool = False) -> JournalView:
    """Open the journal in the directory `path` for reading, whether or not another process's engine has it open.

    Nothing is ever written but LMDB's list of readers (lock.mdb).  After an unclean end, or when the file was changed since, a child
    process looks at the data first, as damage may kill whoever reads it.  Several views in one process share one store.  In a process
    whose own engine has the journal open there is no view of it: ask that engine.  JournalError (there is none), JournalCorrupt,
    JournalVersion.
    """
    directory = os.path.abspath(os.fsdecode(path))
    return JournalView(borrow(directory, lambda: open_store(directory, readonly=True, allow_unsafe_fs=allow_unsafe_fs)))


class JournalView:
    """An open journal.  A context manager; each read ends before its answer is given, and one thread reads at a time."""

    def __init__(self, store: LmdbStore) -> None:
        self.store = store
        self.path = store.path
        self._journal = Journal(store)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """A second call does nothing."""
        if not self._closed:
            self._closed = True
            give_back(self.store)

    # --- where it stands ----------------------------------------------------------------------------------------------

    @property
    def owner(self) -> int | None:
        """The process whose engine has it open now; None for none, 0 for one in another container."""
        return owner_of(self.path)

    def now(self) -> int:
        """Kernel time as an engine would have it now, microseconds UTC: the wall clock's, but never before the newest event."""
        newest = self._journal.event(self.last_seq) if self.last_seq else None
        return max(time.time_ns() // 1_000, 0 if newest is None else newest.at)

    @property
    def first_seq(self) -> int:
        """The oldest event that is still there; 0 if there is none."""
        pairs = self.store.scan(Table.EVENTS, limit=1)
        return int.from_bytes(pairs[0][0], "big") if pairs else 0

    @property
    def last_seq(self) -> int:
        """The newest durable event; 0 if there is none."""
        pair = self.store.last(Table.EVENTS)
        return 0 if pair is None else int.from_bytes(pair[0], "big")

    def gauge(self) -> Gauge:
        """How full it is; bytes."""
        return self.store.gauge()

    @property
    def file_bytes(self) -> int:
        """The size of data.mdb on disk."""
        return os.stat(os.path.join(self.path, "data.mdb")).st_blocks * 512

    def seq_at(self, moment: Moment) -> int:
        """The last seq that belongs to `moment`; 0 if that is before everything.  ValueError for a naive datetime or a seq below 0."""
        if (seq := seq_of(moment)) is not None:
            return seq
        assert isinstance(moment, datetime)
        wanted = instant_us(moment, "a moment")
        low, high = 0, self.last_seq  # `low` is at or before the instant
        while low < high:
            middle = (low + high + 1) // 2
            page = self._journal.read(middle, high, limit=1)
            if not page:
                high = middle - 1
            elif page[0][1].at <= wanted:
                low = max(middle, page[0][0])
            else:
                high = middle - 1
        return low

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self, since: Moment = 1, until: Moment | None = None, *, page: int = _PAGE) -> Iterator[tuple[int, Event]]:
        """(seq, event) with since <= seq <= until, oldest first; kinds that this version may pass over are left out.

        `since` as an instant: the first event after everything before it.  What is written meanwhile is read too, if `until` is None.
        JournalCorrupt or JournalVersion names the first record that cannot be read.
        """
        if page < 1:
            raise ValueError(f"a page holds at least one event, not {page!r}")
        first = self.first_of(since)
        last = NO_SEQ if until is None else self.seq_at(until)
        while first <= last and (found := self._journal.read(first, last, limit=page)):
            first = found[-1][0] + 1
            for seq, event in found:
                if not isinstance(event, Ignored):
                    yield seq, event

    def of_kinds(
        self, kinds: Collection[type], first: int, last: int, tell: Callable[[int], object] = lambda seq: None
    ) -> Iterator[tuple[int, Event]]:
        """(seq, event) with first <= seq <= last, only of these kinds; the records of others are passed over unread.  `tell` hears how
        far it is.  Raises as `events` does, for those it reads."""
        tags = frozenset(TAG_OF[kind] for kind in kinds)
        while first <= last and (found := self.records(first, last, _PAGE)):
            first = int.from_bytes(found[-1][0], "big") + 1
            for seq, event in decode_records([pair for pair in found if tag_of(pair[1]) in tags]):
                if not isinstance(event, Ignored):
                    yield seq, event
            tell(first - 1)

    def first_of(self, since: Moment) -> int:
        """The first seq that `since` takes in: itself, or the first one after everything before that instant."""
        if (seq := seq_of(since)) is not None:
            return seq
        assert isinstance(since, datetime)
        return first_at(self._journal, instant_us(since, "since"), self.last_seq)

    def parameters(self) -> Parameters:
        """By handler: what its positional arguments are called, as far as an engine has said so."""
        return read_parameters(self.store)

    def payload(self, seq: int, digest: bytes | None = None) -> bytes | None:
        """The arguments or result that belong to event `seq`, encoded; None if there are none, or they were dropped.  With their
        `digest`: JournalCorrupt if they are not what was stored.
        """
        seq_of(seq)
        return self._journal.payload(seq, digest)

    # --- tasks --------------------------------------------------------------------------------------------------------

    def snapshot(self) -> AbstractContextManager[None]:
        """A block in which all reads see one commit.  Keep it short: a busy journal grows while it lasts."""
        return self.store.snapshot()

    @contextmanager
    def newest(self) -> Iterator[Recovered]:
        """The newest durable state, and a snapshot to read tables in that fit it: memory's tasks, and the catalog of ended ones on disk.

        Costs what recovery costs: the unfinished tasks and the events since the newest checkpoint.
        """
        with self.snapshot():
            yield recover(self.store)

    def task(self, id: str | bytes) -> TaskState | None:
        """The task as it stands; None if there is none (any more).  A running engine may hide one a little earlier, when it expires.

        `id` as text, as everywhere, or its 16 bytes.  ValueError for anything else.
        """
        id = _id(id)
        with self.newest() as found:
            for queue in found.state.queues.values():
                if id in queue.tasks:
                    return queue.tasks[id]
            return found.catalog.get(id, 0)

    def history(self, id: str | bytes) -> list[HistoryEvent]:
        """The task's whole life, oldest event first; [] for one that is not there.  ValueError for what is no id."""
        task = self.task(id)
        if task is None:
            return []
        found = (history_of(seq, event, task.queue) for seq, event in self._journal.events(list(task.seqs)))
        return [event for event in found if event is not None]

    def stats(self) -> Summary:
        """What is there: tasks by queue and state, the oldest that is due, sizes, readers (summary.py).  Costs what recovery costs.

        Events by kind and bytes, which need a pass over all events, are `journal.summary.count_events`.
        """
        from journeyman.journal.summary import summary

        return summary(self)

    # --- the past -----------------------------------------------------------------------------------------------------

    def state_at(self, moment: Moment, *, ended: bool = True, tell: Tell | None = None) -> Past:
        """The state as of `moment`, as far as the journal still tells of it (past.py says how far).

        With `ended=False`, ended tasks are counted and not kept: memory then holds only what was unfinished.  `tell` hears how far it has
        come.  ValueError for a moment that has not come.
        """
        from journeyman.journal.past import state_at

        return state_at(self, moment, ended=ended, tell=tell)

    def diff(self, a: Moment, b: Moment, *, tell: Tell | None = None) -> Iterator[Change]:
        """What changed between two moments: each task that began, ended or changed, then each queue, then the journal (changes.py)."""
        from journeyman.journal.changes import changes

        return changes(self, a, b, tell=tell)

    def verify(self, *, against: Head | str | None = None, tell: Callable[[str, int, int], object] = nothing) -> Verdict:
        """Prove the whole journal, in a child process that damage may kill: see journal/verify.py.  `tell` hears how far it is.

        `against`: a head noted earlier, as `verify` gives one or as its text, "SEQ:HASH".  ValueError for another text.
        """
        if isinstance(against, str):
            against = Head.read(against)
        return verify(self.path, against=against, tell=tell)

    def records(self, first: int, last: int, limit: int) -> list[tuple[bytes, bytes]]:
        """Raw (key, value) pairs of table EVENTS: for proofs and copies."""
        return self.store.scan(Table.EVENTS, seq_key(first), seq_key(last + 1), limit=limit)


def _id(id: object) -> bytes:
    if isinstance(id, bytes):
        if len(id) != _ID_BYTES:
            raise ValueError(f"a task's id has {_ID_BYTES} bytes, or is text; {id!r} is neither")
        return id
    return id_bytes(id)


__all__ = ["JournalView", "Moment", "open_journal"]
