"""Events by what they concern, and the events to come: what `journeyman log` reads.

Problem.  A journal holds ten million events and an operator wants those of one task, one handler, or whatever comes next.  A task's own
are named by its row, so they are fetched, not searched.  A handler stands only in the TaskSubmitted, which may lie before the stretch
that is read.  And what an engine writes meanwhile must come once each, in order, whether it restarts or its map grows.

Choice.  Everything else is one pass by the page.  Handlers: those of unfinished tasks that were seen being submitted are remembered, those
of ended ones up to a bound; a task never seen is looked up by its row, or among the tasks that recovery brings back.  Following: seqs are
dense when written and commits are atomic, so reading on after the last seq read misses nothing and repeats nothing; only what prune took
before it was read is missing, and `Feed.missed` says which seqs those are.  A data file that was replaced (a compaction, a backup put
back) is opened anew.

Rejected: watching the file (LMDB writes through a map, and the clock of a mapped file says little); a hook in the engine.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from journeyman.journal.log import Journal, seq_key
from journeyman.journal.record import Ignored, decode_records
from journeyman.journal.row import decode_rows
from journeyman.journal.store import Table
from journeyman.journal.view import JournalView, Moment, open_journal
from journeyman.kernel.events import Event, TaskCancelled, TaskFailed, TaskInterrupted, TaskRetried, TaskSubmitted, TaskSucceeded
from journeyman.kernel.namespace import shown_name

_ENDS: Final = frozenset({TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted})
_PAGE: Final = 2_000
_NO_SEQ: Final = (1 << 64) - 2
_ENDED: Final = 100_000  # ended tasks whose handlers are remembered
_HANDLER: Final = 3  # its place in a row


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events; None or empty: all.  `queue` as shown: plugin/mail."""

    queue: str | None = None
    task: bytes | None = None
    kinds: frozenset[type[Any]] = frozenset()
    handler: str | None = None


class Sieve:
    """Lets the events of a `Selection` through.  Feed it every event of a stretch, in order."""

    def __init__(self, view: Callable[[], JournalView], wanted: Selection) -> None:
        self.wanted = wanted
        self._handlers = None if wanted.handler is None else Handlers(view)

    def lets(self, seq: int, event: Event) -> bool:
        wanted = self.wanted
        if self._handlers is not None:
            id: bytes | None = getattr(event, "task", None)
            if id is None or self._handlers.of(seq, event, id) != wanted.handler:
                return False
        if wanted.queue is not None and shown_name(event.queue) != wanted.queue:
            return False
        if wanted.kinds and type(event) not in wanted.kinds:
            return False
        return wanted.task is None or getattr(event, "task", None) == wanted.task


class Handlers:
    """The handler of each task that events speak of, in bounded memory: unfinished tasks, and the last of the ended ones.

    `view` gives the journal as it is open now.
    """

    def __init__(self, view: Callable[[], JournalView], bound: int = _ENDED) -> None:
        self._view = view
        self._bound = bound
        self._unfinished: dict[bytes, str] = {}
        self._ended: OrderedDict[bytes, str] = OrderedDict()
        self._recovered: dict[bytes, str] = {}
        self._recovered_at = 0

    def of(self, seq: int, event: Event, id: bytes) -> str | None:
        """The handler of the task `id`, of which `event` speaks; None if nothing says it any more."""
        kind = type(event)
        if kind is TaskSubmitted:
            found: str | None = event.handler  # type: ignore[union-attr]
        elif kind is TaskRetried:
            found = event.row[_HANDLER]  # type: ignore[union-attr]
        else:
            found = self._unfinished.get(id) or self._ended.get(id) or self._look_up(seq, id)
        if found is not None:
            self._remember(id, found, kind in _ENDS or (id in self._ended and kind is not TaskRetried and kind is not TaskSubmitted))
        return found

    def _remember(self, id: bytes, handler: str, ended: bool) -> None:
        if not ended:
            self._unfinished[id] = handler
            self._ended.pop(id, None)
            return
        self._unfinished.pop(id, None)
        self._ended[id] = handler
        if len(self._ended) > self._bound:
            self._ended.popitem(last=False)

    def _look_up(self, seq: int, id: bytes) -> str | None:
        value = self._view().store.get(Table.TASKS, id)
        if value is not None:
            return decode_rows(Table.TASKS, [(id, value)])[0][0].handler
        if id not in self._recovered and self._recovered_at < seq:
            with self._view().newest() as found:
                self._recovered_at = found.journal.sealed
                self._recovered = {id: task.handler for queue in found.state.queues.values() for id, task in queue.tasks.items()}
        return self._recovered.get(id)


def selected(view: JournalView, wanted: Selection, since: Moment = 1, until: Moment | None = None) -> Iterator[tuple[int, Event]]:
    """The events of `wanted` with since <= seq <= until, oldest first.  KeyError for a task that is not there."""
    sieve = Sieve(lambda: view, wanted)
    found = view.events(since, until) if wanted.task is None else _of_task(view, wanted.task, since, until)
    return ((seq, event) for seq, event in found if sieve.lets(seq, event))


def _of_task(view: JournalView, id: bytes, since: Moment, until: Moment | None) -> Iterator[tuple[int, Event]]:
    task = view.task(id)
    if task is None:
        raise KeyError(id)
    first, last = view.first_of(since), _NO_SEQ if until is None else view.seq_at(until)
    keys = [seq_key(seq) for seq in task.seqs if first <= seq <= last]
    return _fetched(view, keys)


def _fetched(view: JournalView, keys: list[bytes]) -> Iterator[tuple[int, Event]]:
    for start in range(0, len(keys), _PAGE):
        some = keys[start : start + _PAGE]
        pairs = [(key, value) for key, value in zip(some, view.store.get_many(Table.EVENTS, some), strict=True) if value is not None]
        for seq, event in decode_records(pairs):  # those that prune took meanwhile are not there
            if not isinstance(event, Ignored):
                yield seq, event


class Feed:
    """The events of a journal after seq `after`, as they are written.  A context manager."""

    def __init__(self, path: str | os.PathLike[str], after: int | None = None) -> None:
        self.view = open_journal(path)
        self._path = path
        self._file = self._file_now()
        self.after = self.view.last_seq if after is None else after  # the last seq that was read
        self.missed: list[tuple[int, int]] = []  # stretches that prune took before they were read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.view.close()

    def page(self) -> list[tuple[int, Event]]:
        """What has been written since, a page at a time; [] for nothing new."""
        found = Journal(self.view.store).read(self.after + 1, _NO_SEQ, limit=_PAGE)
        if not found:
            self._follow_the_file()
            return []
        expected = self.after + 1
        for seq, _ in found:
            if seq != expected:
                self.missed.append((expected, seq - 1))
            expected = seq + 1
        self.after = expected - 1
        return [(seq, event) for seq, event in found if not isinstance(event, Ignored)]

    def _follow_the_file(self) -> None:
        file = self._file_now()
        if file != self._file:
            self.view.close()
            self.view = open_journal(self._path)
            self._file = file

    def _file_now(self) -> tuple[int, int]:
        found = os.stat(os.path.join(self._path, "data.mdb"))
        return found.st_dev, found.st_ino


__all__ = ["Feed", "Handlers", "Selection", "Sieve", "selected"]
